"""The protocols: how each is identified, parsed and paired. The interface, and the one list of them."""
