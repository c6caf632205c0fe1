"""The Raft algorithm: PySyncObj, and the rules around it that make it safe."""
