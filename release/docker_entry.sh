#!/bin/sh
# With arguments, the command. Without, a shell: SpikeInterface starts a container so, and gives it orders while it lives.
if [ $# -eq 0 ]; then
    exec bash
fi
exec crsae "$@"
