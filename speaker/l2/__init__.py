"""Layer 2 on the wire: frames, who is answered, what is announced when. Without I/O."""
