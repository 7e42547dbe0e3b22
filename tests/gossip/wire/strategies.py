"""Hypothesis strategies for messages, with names that were never UTF-8 and integers at the edges of their widths."""

from hypothesis import strategies as st

from gossip.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    PushPull,
    Suspect,
    UserMessage,
)

u16 = st.integers(0, 2**16 - 1) | st.sampled_from([0, 127, 128, 255, 256, 65535])
u32 = st.integers(0, 2**32 - 1) | st.sampled_from([0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1])
signed = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, 127, 128, 32767, 32768, 2**31 - 1, 2**31])
names = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=300
)
blobs = st.binary(max_size=40) | st.sampled_from([bytes(31), bytes(32), bytes(255), bytes(256), bytes(70_000)])
nilable = st.none() | st.binary(max_size=40)
addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)

pings = st.builds(Ping, u32, names, addresses | st.just(b""), u16, names)
alives = st.builds(Alive, u32, names, addresses, u16, nilable, nilable)
packet_messages = st.one_of(
    pings,
    st.builds(IndirectPing, u32, addresses, u16, names, st.booleans(), addresses | st.just(b""), u16, names),
    st.builds(Ack, u32, nilable | blobs),
    st.builds(Nack, u32),
    st.builds(Suspect, u32, names, names),
    alives,
    st.builds(Dead, u32, names, names),
    st.builds(UserMessage, blobs),
)
node_states = st.builds(NodeState, names, addresses, u16, nilable, u32, signed, nilable)
push_pulls = st.builds(PushPull, st.booleans(), st.lists(node_states, max_size=8).map(tuple), st.binary(max_size=60))
stream_messages = st.one_of(
    pings, st.builds(Ack, u32, nilable), push_pulls, st.builds(UserMessage, blobs), st.builds(ErrorReply, names)
)
