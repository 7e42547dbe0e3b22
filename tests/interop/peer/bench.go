package main

import (
	"bytes"
	"compress/lzw"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
)

// The library keeps its messages and its codec to itself. These two have the same fields and go through the same
// msgpack and LZW packages with the same settings, so that the time measured is the library's.
type pingMessage struct {
	SeqNo      uint32
	Node       string
	SourceAddr []byte `codec:",omitempty"`
	SourcePort uint16 `codec:",omitempty"`
	SourceNode string `codec:",omitempty"`
}

type aliveMessage struct {
	Incarnation uint32
	Node        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Vsn         []uint8
}

const literalBits = 8

func encode(message any) []byte {
	handle := codec.MsgpackHandle{}
	handle.TimeNotBuiltin = true
	var buffer bytes.Buffer
	if err := codec.NewEncoder(&buffer, &handle).Encode(message); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

func decode(data []byte, into any) {
	if err := codec.NewDecoder(bytes.NewReader(data), &codec.MsgpackHandle{}).Decode(into); err != nil {
		panic(err)
	}
}

func compress(data []byte) []byte {
	var buffer bytes.Buffer
	writer := lzw.NewWriter(&buffer, lzw.LSB, literalBits)
	if _, err := writer.Write(data); err != nil {
		panic(err)
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

func decompress(data []byte) {
	reader := lzw.NewReader(bytes.NewReader(data), lzw.LSB, literalBits)
	if _, err := io.Copy(io.Discard, reader); err != nil {
		panic(err)
	}
}

// sample is size bytes that repeat as gossip does: alive messages of numbered nodes.
func sample(size int) []byte {
	var buffer bytes.Buffer
	for i := 0; buffer.Len() < size; i++ {
		buffer.Write(encode(aliveMessage{
			Incarnation: uint32(i), Node: fmt.Sprintf("node-%05d", i), Addr: []byte{10, 0, byte(i >> 8), byte(i)},
			Port: 7946, Vsn: []uint8{1, 5, 2, 0, 0, 0},
		}))
	}
	return buffer.Bytes()[:size]
}

// bench times n runs of one operation; "size" is the uncompressed size for the two that take one.
func (p *peer) bench(request command) (object, error) {
	ping := pingMessage{
		SeqNo: 4711, Node: "node-00001", SourceAddr: []byte{10, 0, 0, 1}, SourcePort: 7946, SourceNode: "node-00002",
	}
	alive := aliveMessage{
		Incarnation: 7, Node: "node-00001", Addr: []byte{10, 0, 0, 1}, Port: 7946, Vsn: []uint8{1, 5, 2, 0, 0, 0},
	}
	pingBytes, aliveBytes, plain := encode(ping), encode(alive), sample(request.Size)
	packed := compress(plain)
	operations := map[string]func(){
		"encode-ping":  func() { encode(ping) },
		"decode-ping":  func() { decode(pingBytes, &pingMessage{}) },
		"encode-alive": func() { encode(alive) },
		"decode-alive": func() { decode(aliveBytes, &aliveMessage{}) },
		"compress":     func() { compress(plain) },
		"decompress":   func() { decompress(packed) },
	}
	operation, ok := operations[request.Op]
	if !ok || request.N < 1 {
		return nil, fmt.Errorf("cannot run %q %d times", request.Op, request.N)
	}
	start := time.Now()
	for range request.N {
		operation()
	}
	elapsed := time.Since(start)
	return object{"op": request.Op, "n": request.N, "ns_per_op": float64(elapsed.Nanoseconds()) / float64(request.N)}, nil
}

// cluster times how long n fresh nodes with the local profile take until every one of them sees all n.
func (p *peer) cluster(request command) (object, error) {
	lists := []*memberlist.Memberlist{}
	defer func() {
		for _, list := range lists {
			_ = list.Shutdown()
		}
	}()
	start := time.Now()
	for i := range request.N {
		timings := memberlist.DefaultLocalConfig()
		config := p.quiet(fmt.Sprintf("cluster-%04d", i))
		config.ProbeInterval, config.GossipInterval = timings.ProbeInterval, timings.GossipInterval
		config.PushPullInterval = timings.PushPullInterval
		list, err := memberlist.Create(config)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
		if _, err := list.Join([]string{lists[0].LocalNode().Address()}); err != nil {
			return nil, err
		}
	}
	for _, list := range lists {
		if err := waitForMembers(list, request.N); err != nil {
			return nil, err
		}
	}
	return object{"n": request.N, "seconds": time.Since(start).Seconds()}, nil
}
