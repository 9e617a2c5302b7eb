"""Read models of controls that have no effect by themselves: draft and shadow limits."""
