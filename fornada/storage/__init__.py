"""Object stores: the interface, the opener, and one module or package per store."""
