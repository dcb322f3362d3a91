"""Messages between processes over ZeroMQ: keys, who may connect, who may say what, and sockets that never block the
loop.

What belongs here: everything that touches zmq, CURVE keys and join tokens. What does not: what messages mean (core),
what is stored about peers (store), and how often something is repeated (the hands).

`server.Server` is the dispatcher's side and `connection.Connection` everybody else's. Neither promises delivery: a
message is handed over or it is not, and the protocol repeats whatever matters. Identity is the peer's CURVE public
key, always; addresses and routing ids say nothing about who speaks.
"""
