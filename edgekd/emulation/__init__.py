"""The real AArch64 runtime under QEMU: what a model's inference executes on a core that is not here."""
