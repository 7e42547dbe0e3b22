// Command memberlist-peer is one hashicorp/memberlist node under the control of a test.
//
// It reads commands, one JSON object a line, from stdin and answers each with one line on stdout
// ({"reply": command, …}, with "error" when it failed). What the ring reports meanwhile are lines of their own
// ({"event": kind, …}); the first is "ready". Bytes are hex. Logs go to stderr. It leaves the process, not the
// ring, at the end of stdin or at "quit": a test that wants a graceful leave says "leave" first.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const maxCommandBytes = 1 << 22

type object = map[string]any

// hexFlag is a flag of raw bytes in hex.
type hexFlag []byte

func (h *hexFlag) String() string { return hex.EncodeToString(*h) }

func (h *hexFlag) Set(text string) (err error) {
	*h, err = hex.DecodeString(text)
	return err
}

// output serialises the lines that replies and the ring's callbacks write from their own goroutines.
type output struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (o *output) write(line object) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if err := o.encoder.Encode(line); err != nil {
		log.Fatalf("stdout is gone: %v", err)
	}
}

func libraryVersion() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/hashicorp/memberlist" {
				return module.Version
			}
		}
	}
	return "unknown"
}

func setBind(config *memberlist.Config, bind string) error {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	config.BindAddr, config.BindPort = host, number
	config.AdvertiseAddr, config.AdvertisePort = host, number
	return nil
}

func setDelegateVersions(config *memberlist.Config, text string) error {
	if text == "" {
		return nil
	}
	fields := []*uint8{&config.DelegateProtocolMin, &config.DelegateProtocolMax, &config.DelegateProtocolVersion}
	parts := strings.Split(text, ",")
	if len(parts) != len(fields) {
		return fmt.Errorf("delegate version %q is not min,max,current", text)
	}
	for i, part := range parts {
		number, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return err
		}
		*fields[i] = uint8(number)
	}
	return nil
}

// parseFlags turns the command line into a configuration. A flag that is not given leaves the profile's value.
func parseFlags(state *delegate) (*memberlist.Config, error) {
	profiles := map[string]func() *memberlist.Config{
		"lan": memberlist.DefaultLANConfig, "wan": memberlist.DefaultWANConfig, "local": memberlist.DefaultLocalConfig,
	}
	name := flag.String("name", "", "node name")
	bind := flag.String("bind", "127.0.0.1:7946", "listen and advertise address")
	profile := flag.String("profile", "lan", "lan, wan or local")
	label := flag.String("label", "", "label")
	delegateVersion := flag.String("delegate-version", "", "min,max,current")
	protocol := flag.Uint("protocol", 0, "memberlist protocol version")
	suspicionMult := flag.Int("suspicion-mult", 0, "suspicion multiplier")
	booleans := map[string]*bool{}
	for _, key := range []string{"compress", "verify-incoming", "verify-outgoing"} {
		booleans[key] = flag.Bool(key, true, "true or false")
	}
	durations := map[string]*int{}
	for _, key := range []string{
		"probe-interval", "probe-timeout", "gossip-interval", "push-pull-interval", "gossip-to-the-dead", "dead-reclaim",
	} {
		durations[key] = flag.Int(key, 0, "milliseconds")
	}
	var key hexFlag
	flag.Var(&key, "key", "primary key: 16, 24 or 32 bytes in hex")
	flag.Var((*hexFlag)(&state.meta), "meta", "metadata in hex")
	flag.Var((*hexFlag)(&state.userState), "user-state", "local state for push/pull in hex")
	flag.Var((*hexFlag)(&state.ackPayload), "ack-payload", "payload of our acks in hex")
	flag.Parse()

	base, ok := profiles[*profile]
	if !ok {
		return nil, fmt.Errorf("unknown profile %q", *profile)
	}
	config := base()
	config.Name, config.Label = *name, *label
	if *protocol != 0 {
		config.ProtocolVersion = uint8(*protocol)
	}
	if *suspicionMult != 0 {
		config.SuspicionMult = *suspicionMult
	}
	config.EnableCompression = *booleans["compress"]
	config.GossipVerifyIncoming = *booleans["verify-incoming"]
	config.GossipVerifyOutgoing = *booleans["verify-outgoing"]
	fields := map[string]*time.Duration{
		"probe-interval": &config.ProbeInterval, "probe-timeout": &config.ProbeTimeout,
		"gossip-interval": &config.GossipInterval, "push-pull-interval": &config.PushPullInterval,
		"gossip-to-the-dead": &config.GossipToTheDeadTime, "dead-reclaim": &config.DeadNodeReclaimTime,
	}
	flag.Visit(func(given *flag.Flag) {
		if field, ok := fields[given.Name]; ok {
			*field = time.Duration(*durations[given.Name]) * time.Millisecond
		}
	})
	if len(key) > 0 {
		keyring, err := memberlist.NewKeyring(nil, key)
		if err != nil {
			return nil, err
		}
		config.Keyring = keyring
	}
	if err := setDelegateVersions(config, *delegateVersion); err != nil {
		return nil, err
	}
	return config, setBind(config, *bind)
}

func main() {
	out := &output{encoder: json.NewEncoder(os.Stdout)}
	state := &delegate{out: out}
	config, err := parseFlags(state)
	if err != nil {
		log.Fatal(err)
	}
	state.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: config.RetransmitMult, NumNodes: state.countMembers}
	state.attach(config)
	config.LogOutput = os.Stderr
	list, err := memberlist.Create(config)
	if err != nil {
		log.Fatal(err)
	}
	state.list.Store(list)
	local := list.LocalNode()
	out.write(object{"event": "ready", "node": local.Name, "addr": local.Address(), "version": libraryVersion()})

	peer := &peer{config: config, list: list, state: state}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 0, 1<<16), maxCommandBytes)
	for lines.Scan() {
		reply := peer.answer(lines.Bytes())
		out.write(reply)
		if reply["reply"] == "quit" {
			break
		}
	}
	peer.shutdown()
}
