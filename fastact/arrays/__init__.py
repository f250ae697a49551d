"""What is `x`? Views of the memory of anything that holds numbers: on the host, over DLPack, on a device."""
