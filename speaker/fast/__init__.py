"""The fast process of a speaker: the ring, ownership, and the frames. Nothing in it takes more than a few milliseconds.

Rules kept here:

* It loads trio, msgpack, cryptography, pyroute2's netlink parser and the standard library, and nothing else.
* It starts and restarts the slow process, and goes on without it.
"""
