#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a failover script: ft.py --bin DIR --dir DIR SCRIPT, or ft.py --verbs for the manual.

A script is read line by line; each line is an actor, a verb and its words, `#` starts a comment.
There are no variables and no loops: a script is a story, and a story is read from top to bottom.
The first line that does not come true ends it: with its number, and what every actor said last.
"""
import argparse
import inspect
import os
import pathlib
import shlex
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "deploy")]

from actor import Actor, Failed  # noqa: E402
from group import Refused  # noqa: E402
from node import Group, Node  # noqa: E402
from sip import Sip  # noqa: E402
from talk import Talk  # noqa: E402
from xmpp import Xmpp  # noqa: E402

CLIENTS = {"xmpp": Xmpp, "sip": Sip}
ONES = {"group": Group, "talk": Talk}


class Script:
    """The script's own verbs: failover, say."""

    def __init__(self, options):
        self.bin, self.directory = options.bin.resolve(), options.dir.resolve()
        self.narrate, self.actors = options.narrate, {}
        self.fault_at = self.fault_done_at = None

    def do_failover(self, sentence):
        """failover "SENTENCE": what this script shows. The first line of every script."""
        self.say(sentence)

    def do_say(self, sentence):
        """say "SENTENCE": for whoever watches."""
        self.say(sentence)

    def say(self, sentence):
        print(sentence if self.narrate else f"== {sentence.strip()}", flush=True)

    def measure(self, what, value):
        self.say(f"   {what}: {value:.2f} s")

    def actor(self, name):
        if name not in self.actors:
            raise Failed(f"nobody is called {name}")
        return self.actors[name]

    def find(self, words):
        """The actor of a line, made when it is named first, and the words that are for it."""
        kind, *rest = words
        if kind in CLIENTS:
            name, *rest = rest
            self.actors.setdefault(name, None)
            self.actors[name] = self.actors[name] or CLIENTS[kind](self, name)
            return self.actors[name], rest
        if kind in ONES and kind not in self.actors:
            self.actors[kind] = ONES[kind](self)
        return (self.actors[kind], rest) if kind in self.actors else (self, words)

    def run(self, path):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            words = shlex.split(text, comments=True)
            if not words:
                continue
            try:
                if not self.narrate:
                    print(f"{number:4}  {text.strip()}", flush=True)
                self.obey(words)
            except (Failed, Refused, TypeError, ValueError, subprocess.SubprocessError) as error:
                print(f"{path}:{number}: {text.strip()}\n    {error or type(error).__name__}")
                return False
        return True

    def obey(self, words):
        actor, (verb, *rest) = self.find(words)
        action = getattr(actor, "do_" + verb.replace("-", "_"), None)
        if not action:
            raise Failed(f"no such verb: {verb}")
        action(*[word.rstrip(",") for word in rest])

    def show_last_words(self):
        for name, actor in self.actors.items():
            print(f"--- {name} said last:", *actor.last_words(), sep="\n    ")

    def end(self):
        for actor in reversed(list(self.actors.values())):
            try:
                actor.end()
            except Exception as error:  # one that can't end must not keep the others
                print(f"{actor.name}: {error}")


def print_verbs():
    for actor in (Script, *ONES.values(), Node, *CLIENTS.values()):
        print(f"{inspect.getdoc(actor)}\n")
        for name, member in inspect.getmembers(actor, inspect.isfunction):
            if name.startswith("do_") and member.__doc__:
                print("    " + inspect.getdoc(member).replace("\n", "\n        "))
        print()


def finish(script, passed, keep):
    """Ends everything. What a failed script leaves is its logs."""
    group = script.actors.get("group")
    try:
        if not passed and not script.narrate:
            script.show_last_words()
    finally:  # whoever reads this may have gone
        script.end()
    errors = group.unexpected_errors() if group else []
    for line in errors:
        print("error in a log:", line)
    if group and not keep:
        if not passed or errors:
            group.keep_logs(script.directory)
        group.remove()
    return 0 if passed and not errors else 1


def interrupt(number, _):
    raise KeyboardInterrupt(number)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path)
    parser.add_argument("--dir", type=pathlib.Path)
    parser.add_argument("--verbs", action="store_true", help="the manual")
    parser.add_argument("--narrate", action="store_true", help="print only what the script says")
    parser.add_argument("--keep", action="store_true", help="leave the group's directory behind")
    parser.add_argument("script", nargs="?", type=pathlib.Path)
    options = parser.parse_args()
    if options.verbs:
        print_verbs()
        return 0
    options.dir.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, interrupt)
    script, passed = Script(options), False
    try:
        passed = script.run(options.script)
    except KeyboardInterrupt:
        print("interrupted")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        status = finish(script, passed, options.keep)
    return status


status = main()
sys.stdout.flush()
os._exit(status)  # threads that still wait must not keep us
