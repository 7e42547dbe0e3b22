package main

import (
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is every hook of the library in one type: it prints what it is told and serves what a test has set.
type delegate struct {
	out   *output
	list  atomic.Pointer[memberlist.Memberlist]
	queue *memberlist.TransmitLimitedQueue

	mutex      sync.Mutex
	meta       []byte
	userState  []byte
	ackPayload []byte
}

func (d *delegate) attach(config *memberlist.Config) {
	config.Delegate, config.Events, config.Conflict, config.Ping = d, d, d, d
}

func (d *delegate) countMembers() int {
	if list := d.list.Load(); list != nil {
		return list.NumMembers()
	}
	return 1
}

func (d *delegate) setMeta(meta []byte) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.meta = meta
}

func (d *delegate) NodeMeta(int) []byte {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.meta
}

func (d *delegate) NotifyMsg(payload []byte) {
	d.out.write(object{"event": "message", "payload": hex.EncodeToString(payload)})
}

func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

func (d *delegate) LocalState(bool) []byte { return d.userState }

func (d *delegate) MergeRemoteState(payload []byte, join bool) {
	d.out.write(object{"event": "user-state", "payload": hex.EncodeToString(payload), "join": join})
}

func (d *delegate) writeNode(event string, node *memberlist.Node) {
	d.out.write(object{
		"event": event, "node": node.Name, "addr": node.Address(), "meta": hex.EncodeToString(node.Meta),
		"state": stateNames[node.State],
	})
}

func (d *delegate) NotifyJoin(node *memberlist.Node)   { d.writeNode("join", node) }
func (d *delegate) NotifyLeave(node *memberlist.Node)  { d.writeNode("leave", node) }
func (d *delegate) NotifyUpdate(node *memberlist.Node) { d.writeNode("update", node) }

func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.out.write(object{
		"event": "conflict", "node": existing.Name, "addr": existing.Address(), "other": other.Address(),
	})
}

func (d *delegate) AckPayload() []byte { return d.ackPayload }

func (d *delegate) NotifyPingComplete(node *memberlist.Node, rtt time.Duration, payload []byte) {
	d.out.write(object{
		"event": "ping-complete", "node": node.Name, "rtt": rtt.Seconds(), "payload": hex.EncodeToString(payload),
	})
}

// broadcast is one user message in the queue; none replaces another.
type broadcast []byte

func (broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                     { return b }
func (broadcast) Finished()                             {}
func (broadcast) UniqueBroadcast()                      {}
