"""A device on the command line: logs clicks, ranks, personalises itself, uploads. Needs no TensorFlow.

  dccl-device inspect BUNDLE                       what a bundle holds
  dccl-device self-test BUNDLE                     does this machine compute what the exporter did, and how fast?
  dccl-device register --url=URL                   gets a key from the collector, once; uploads need it
  dccl-device change-key --url=URL                 replaces the key by a new one that nobody else has seen
  dccl-device log ITEM [--label=0] [--skipped=A,B] one interaction; or --events=FILE, one JSON object a line:
                                                   {"item": 1193, "label": 1, "skipped": [661], "timestamp": 978300760}
  dccl-device rank [ITEM ...]                      the items, best first; all of the bundle's without ITEM
  dccl-device personalize [--max_seconds=2]        trains the device's vector on what was logged
  dccl-device upload --url=URL                     sends the signed vector and what still waits; or --output=FILE
  dccl-device upgrade BUNDLE                       takes a new bundle, or its first, once it has passed its checks here;
                                                   --url=URL asks the collector whether there is one for this device
  dccl-device rollback                             back to the bundle before, as the device was then
  dccl-device reset [--forget_user]                begins again; with the flag it forgets the user too
  dccl-device status                               what the device knows of itself
  dccl-device events [--newest=20]                 what happened to it
  dccl-device privacy --clip_norm=1 --noise_multiplier=8 --uploads=30     what noise on uploads guarantees

All but inspect, self-test and privacy take --state, the device's own folder. The first but register makes it from a
--bundle, which is copied into it:

  dccl-device log 1193 --skipped=661,914 --state=device --bundle=bundle --profile=age=25-34,gender=F
  dccl-device personalize --state=device
  dccl-device rank --top=10 --new_only --state=device

Ends with 0; with 1 and one line on what was wrong; or with 130 where Ctrl-C ended it, after which personalize goes on
in the next call. --json prints one JSON object instead of text.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import json
import os
import sys

from device_runtime import DeviceError, InputError
from scripts import flags_device, programs
from scripts.device_commands import COMMANDS, finite


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit code."""
    name, arguments = (argv[1], argv[2:]) if len(argv) > 1 else ("", [])
    try:
        if name not in COMMANDS:
            raise InputError(
                f"command: expected one of {', '.join(COMMANDS)}, got {name or 'none'}; --help explains them"
            )
        flags_device.check_taken(name)
        answer = COMMANDS[name](arguments)
    except DeviceError as error:
        print(f"dccl-device: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dccl-device: interrupted; call again to go on", file=sys.stderr)
        return 130  # as a shell tells of SIGINT
    if answer.note and not flags_device.JSON.value:
        print(f"dccl-device: {answer.note}", file=sys.stderr)
    try:
        print(json.dumps(finite(answer.facts), indent=2) if flags_device.JSON.value else answer.text, flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends
    return 0 if answer.good else 1


def cli() -> None:
    """The console command `dccl-device`."""
    programs.start(main, __name__, flags_device.__name__, words=True)


if __name__ == "__main__":
    cli()
