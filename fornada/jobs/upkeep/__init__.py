"""What keeps jobs going, in every role that hosts it: reconciler, ends, leases, known manifests."""
