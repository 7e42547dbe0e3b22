package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/memberlist"
)

const (
	waitLimit     = 5 * time.Second // for a leave or an update to be sent as often as it must
	convergeLimit = time.Minute     // what gossip lost waits for a push/pull
	pollInterval  = time.Millisecond
)

var stateNames = map[memberlist.NodeStateType]string{
	memberlist.StateAlive: "alive", memberlist.StateSuspect: "suspect",
	memberlist.StateDead: "dead", memberlist.StateLeft: "left",
}

// peer is the node, and the extra members that "populate" added to its ring.
type peer struct {
	config *memberlist.Config
	list   *memberlist.Memberlist
	state  *delegate
	extras []*memberlist.Memberlist
}

// command is the union of the fields of all commands.
type command struct {
	Do       string   `json:"do"`
	Addrs    []string `json:"addrs"`
	Meta     string   `json:"meta"`
	To       string   `json:"to"`
	Payload  string   `json:"payload"`
	Reliable bool     `json:"reliable"`
	Action   string   `json:"action"`
	Key      string   `json:"key"`
	Node     string   `json:"node"`
	State    string   `json:"state"`
	Least    uint64   `json:"least"`
	Count    int      `json:"count"`
	Prefix   string   `json:"prefix"`
	Op       string   `json:"op"`
	N        int      `json:"n"`
	Size     int      `json:"size"`
}

var commands = map[string]func(*peer, command) (object, error){
	"join":      (*peer).join,
	"members":   (*peer).members,
	"wait":      (*peer).wait,
	"leave":     (*peer).leave,
	"update":    (*peer).update,
	"send":      (*peer).send,
	"broadcast": (*peer).broadcast,
	"keys":      (*peer).keys,
	"health":    (*peer).health,
	"ping":      (*peer).ping,
	"populate":  (*peer).populate,
	"bench":     (*peer).bench,
	"cluster":   (*peer).cluster,
	"quit":      (*peer).quit,
}

func (p *peer) answer(line []byte) object {
	var request command
	if err := json.Unmarshal(line, &request); err != nil {
		return object{"reply": "", "error": err.Error()}
	}
	run, ok := commands[request.Do]
	if !ok {
		return object{"reply": request.Do, "error": "unknown command"}
	}
	reply, err := run(p, request)
	if reply == nil {
		reply = object{}
	}
	reply["reply"] = request.Do
	if err != nil {
		reply["error"] = err.Error()
	}
	return reply
}

func (p *peer) shutdown() {
	for _, list := range append(p.extras, p.list) {
		if err := list.Shutdown(); err != nil {
			log.Printf("shutdown: %v", err)
		}
	}
}

func (p *peer) join(request command) (object, error) {
	n, err := p.list.Join(request.Addrs)
	return object{"n": n}, err
}

// records lists everyone the node remembers, with the true state and the incarnation. The public call shows neither
// (nor anyone dead), so this reads the node table itself, under the library's own lock.
func (p *peer) records() []object {
	table := reflect.ValueOf(p.list).Elem()
	lock := (*sync.RWMutex)(unsafe.Pointer(table.FieldByName("nodeLock").UnsafeAddr()))
	lock.RLock()
	defer lock.RUnlock()
	found := []object{}
	for _, record := range table.FieldByName("nodeMap").Seq2() {
		record = record.Elem()
		node := (*memberlist.Node)(unsafe.Pointer(record.FieldByName("Node").UnsafeAddr()))
		found = append(found, object{
			"name": node.Name, "addr": node.Addr.String(), "port": node.Port, "meta": hex.EncodeToString(node.Meta),
			"state":       stateNames[memberlist.NodeStateType(record.FieldByName("State").Int())],
			"incarnation": record.FieldByName("Incarnation").Uint(),
		})
	}
	slices.SortFunc(found, func(a, b object) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	return found
}

func (p *peer) members(command) (object, error) { return object{"members": p.records()}, nil }

// wait answers when the node is held to be in that state, at an incarnation of at least "least".
func (p *peer) wait(request command) (object, error) {
	for start := time.Now(); time.Since(start) < convergeLimit; time.Sleep(pollInterval) {
		for _, record := range p.records() {
			if record["name"] == request.Node && record["state"] == request.State &&
				record["incarnation"].(uint64) >= request.Least {
				return object{"member": record}, nil
			}
		}
	}
	return nil, fmt.Errorf("%q is not %s at %d or later", request.Node, request.State, request.Least)
}

func (p *peer) leave(command) (object, error) { return nil, p.list.Leave(waitLimit) }

func (p *peer) update(request command) (object, error) {
	meta, err := hex.DecodeString(request.Meta)
	if err != nil {
		return nil, err
	}
	p.state.setMeta(meta)
	return nil, p.list.UpdateNode(waitLimit)
}

func (p *peer) find(name string) (*memberlist.Node, error) {
	for _, node := range p.list.Members() {
		if node.Name == name {
			return node, nil
		}
	}
	return nil, fmt.Errorf("no live member %q", name)
}

func (p *peer) send(request command) (object, error) {
	payload, err := hex.DecodeString(request.Payload)
	if err != nil {
		return nil, err
	}
	node, err := p.find(request.To)
	if err != nil {
		return nil, err
	}
	if request.Reliable {
		return nil, p.list.SendReliable(node, payload)
	}
	return nil, p.list.SendBestEffort(node, payload)
}

func (p *peer) broadcast(request command) (object, error) {
	payload, err := hex.DecodeString(request.Payload)
	if err == nil {
		p.state.queue.QueueBroadcast(broadcast(payload))
	}
	return nil, err
}

func (p *peer) keys(request command) (object, error) {
	ring := p.config.Keyring
	if ring == nil {
		return nil, errors.New("started without --key")
	}
	actions := map[string]func([]byte) error{
		"list": func([]byte) error { return nil }, "add": ring.AddKey, "use": ring.UseKey, "remove": ring.RemoveKey,
	}
	act, ok := actions[request.Action]
	if !ok {
		return nil, fmt.Errorf("unknown action %q", request.Action)
	}
	key, err := hex.DecodeString(request.Key)
	if err != nil {
		return nil, err
	}
	if err := act(key); err != nil {
		return nil, err
	}
	keys := []string{}
	for _, installed := range ring.GetKeys() {
		keys = append(keys, hex.EncodeToString(installed))
	}
	return object{"keys": keys}, nil
}

func (p *peer) health(command) (object, error) { return object{"score": p.list.GetHealthScore()}, nil }

func (p *peer) ping(request command) (object, error) {
	node, err := p.find(request.Node)
	if err != nil {
		return nil, err
	}
	rtt, err := p.list.Ping(node.Name, &net.UDPAddr{IP: node.Addr, Port: int(node.Port)})
	return object{"rtt": rtt.Seconds()}, err
}

// quiet is a configuration for a member of this process's own ring: it answers, and starts nothing by itself.
func (p *peer) quiet(name string) *memberlist.Config {
	config := memberlist.DefaultLocalConfig()
	config.Name, config.Label, config.Keyring = name, p.config.Label, p.config.Keyring
	config.BindAddr, config.BindPort = p.config.BindAddr, 0
	config.AdvertiseAddr = p.config.AdvertiseAddr
	config.ProbeInterval, config.GossipInterval, config.PushPullInterval = 0, 0, 0
	config.LogOutput = io.Discard
	return config
}

// waitForMembers returns when the node sees at least n live members, itself included.
func waitForMembers(list *memberlist.Memberlist, n int) error {
	for start := time.Now(); list.NumMembers() < n; time.Sleep(pollInterval) {
		if time.Since(start) > convergeLimit {
			return fmt.Errorf("%s sees %d of %d", list.LocalNode().Name, list.NumMembers(), n)
		}
	}
	return nil
}

// populate adds members that answer probes: real nodes on free ports of the same address.
func (p *peer) populate(request command) (object, error) {
	known := p.list.NumMembers()
	for i := range request.Count {
		list, err := memberlist.Create(p.quiet(fmt.Sprintf("%s%04d", request.Prefix, i)))
		if err != nil {
			return nil, err
		}
		p.extras = append(p.extras, list)
		if _, err := list.Join([]string{p.list.LocalNode().Address()}); err != nil {
			return nil, err
		}
	}
	// A join has returned when the other side has answered, which is a moment before it lists the new member.
	err := waitForMembers(p.list, known+request.Count)
	return object{"n": p.list.NumMembers()}, err
}

func (p *peer) quit(command) (object, error) { return nil, nil }
