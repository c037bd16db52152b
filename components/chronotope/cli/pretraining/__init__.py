"""Command that pretrains a network over several logs."""
