"""QUIC: connections without sockets, the endpoint that has one, and the fast way of a datagram to many."""
