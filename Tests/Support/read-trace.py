#!/usr/bin/env python3
"""read-trace.py FILE: reads a Perfetto trace by the public description of its format and of protocol
buffers alone, checks that its slices nest, and prints what it holds as JSON. Shares nothing with the
program that writes it."""
import json
import sys


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def fields(data):
    """The fields of a message: a list of (number, value), with bytes for what has a length."""
    at, found = 0, []
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            length, at = varint(data, at)
            if at + length > len(data):
                raise ValueError("a field that reaches behind its message")
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("wire type %d, which these messages do not use" % wire)
        found.append((number, value))
    return found


def one(message, number, default=None):
    values = [value for key, value in message if key == number]
    if len(values) > 1:
        raise ValueError("field %d stands twice" % number)
    return values[0] if values else default


def main(path):
    with open(path, "rb") as file:
        data = file.read()
    tracks, slices, instants, counters, open_slices = {}, [], [], {}, {}
    last, lost = {}, 0
    for number, packet in fields(data):
        if number != 1:
            raise ValueError("a trace consists of packets alone")
        packet = fields(packet)
        if one(packet, 10) != 1:
            raise ValueError("a packet of another writer")
        lost += one(packet, 42, 0)
        descriptor, event = one(packet, 60), one(packet, 11)
        if descriptor is not None:
            descriptor = fields(descriptor)
            process = one(descriptor, 3)
            name = one(fields(process), 6) if process is not None else one(descriptor, 2)
            parent = one(descriptor, 5)
            if one(descriptor, 1) in tracks or parent is not None and parent not in tracks:
                raise ValueError("a track without its parent, or twice")
            tracks[one(descriptor, 1)] = (name.decode(), parent)
        elif event is not None:
            event, time = fields(event), one(packet, 8)
            kind, track = one(event, 9), one(event, 11)
            if track not in tracks:
                raise ValueError("an event on no track")
            if time < last.get(track, 0):
                raise ValueError("time runs backwards on a track")
            last[track] = time
            name = one(event, 23, b"").decode()
            arguments = {}
            for key, annotation in event:
                if key == 4:
                    annotation = fields(annotation)
                    value = one(annotation, 3)
                    arguments[one(annotation, 10).decode()] = (
                        value if value is not None else one(annotation, 6).decode()
                    )
            if kind == 1:
                open_slices.setdefault(track, []).append((name, time, arguments))
            elif kind == 2:
                began = open_slices.get(track, []).pop()
                slices.append((began[0], began[1], time, began[2], track, len(open_slices[track])))
            elif kind == 3:
                instants.append((name, arguments, track))
            elif kind == 4:
                counters.setdefault(tracks[track][0], []).append(one(event, 30))
            else:
                raise ValueError("an event of kind %s" % kind)
    summary = {
        "tracks": sorted({name for name, _ in tracks.values()}),
        "vms": sorted(name for name, parent in tracks.values() if parent is None),
        "open": sum(len(left) for left in open_slices.values()),
        "lost": lost,
        "counters": counters,
        "instants": {},
        "slices": {},
        "frames": sorted({s[3]["sequence"] for s in slices if s[0] == "frame"}),
        "stray": sum(1 for s in slices if (s[0] == "frame") != (s[5] == 0)),
    }
    for name, arguments, track in instants:
        summary["instants"][name] = summary["instants"].get(name, 0) + 1
    for name, began, ended, arguments, track, depth in slices:
        summary["slices"][name] = summary["slices"].get(name, 0) + 1
    print(json.dumps(summary))


if __name__ == "__main__":
    main(sys.argv[1])
