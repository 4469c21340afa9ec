"""The protocols: who trains, who chooses, who tests. Each makes the parts of its ranking benchmark from a corpus."""
