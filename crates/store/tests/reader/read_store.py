#!/usr/bin/env python3
"""Lists and checks a store, by docs/formats/store.md alone.

Usage: read_store.py FOLDER. Prints a line for each snapshot: owner, tag, id, parent, tick, state.
Exits with 1 where something is damaged, and with 3 where zstd is needed and cannot be had.
"""

import os
import struct
import subprocess
import sys

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIX = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
       (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
MASK = 0xFFFFFFFF


def compress(chain, block, counter, length, flags):
    v = list(chain) + list(IV[:4]) + [counter & MASK, counter >> 32, length, flags]
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(MIX):
            for x, r1, r2 in ((m[2 * i], 16, 12), (m[2 * i + 1], 8, 7)):
                v[a] = (v[a] + v[b] + x) & MASK
                t = v[d] ^ v[a]
                v[d] = (t >> r1 | t << 32 - r1) & MASK
                v[c] = (v[c] + v[d]) & MASK
                t = v[b] ^ v[c]
                v[b] = (t >> r2 | t << 32 - r2) & MASK
        m = [m[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def own_digest(data):
    """BLAKE3 of 32 bytes."""

    def tree(part, first, root):
        chunks = max(1, (len(part) + 1023) // 1024)
        if chunks == 1:
            blocks = [part[i:i + 64] for i in range(0, len(part), 64)] or [b""]
            chain = IV
            for i, block in enumerate(blocks):
                last = i + 1 == len(blocks)
                flags = (i == 0) | last << 1 | (last and root) << 3
                chain = compress(chain, block, first, len(block), flags)
            return chain
        left = 1
        while left * 2 < chunks:
            left *= 2
        pair = tree(part[:left * 1024], first, False) + tree(part[left * 1024:], first + left, False)
        return compress(IV, struct.pack("<16I", *pair), 0, 64, 4 | root << 3)

    return struct.pack("<8I", *tree(data, 0, True))


try:
    from blake3 import blake3

    def digest(data):
        return blake3(data).digest()
except ImportError:
    digest = own_digest


class Damage(Exception):
    pass


def need(fits, what):
    if not fits:
        raise Damage(what)


def unzstd(data):
    try:
        from compression import zstd
        return zstd.decompress(data)
    except ImportError:
        pass
    try:
        import zstandard
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except ImportError:
        pass
    try:
        return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout
    except FileNotFoundError:
        print("no zstd: neither a module of Python nor the program", file=sys.stderr)
        sys.exit(3)


class Reader:
    """The canonical encoding."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "an encoded value ends too soon")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def flag(self):
        value = self.number(1)
        need(value < 2, "a flag is neither 0 nor 1")
        return value == 1

    def bytes(self):
        return self.take(self.number(4))

    def text(self):
        return self.bytes().decode()

    def digest(self):
        return self.take(32)

    def optional_digest(self):
        return self.digest() if self.flag() else None

    def end(self):
        need(self.at == len(self.data), "bytes after an encoded value")


class Store:
    def __init__(self, folder):
        self.folder = folder
        self.objects = {}
        self.packs = 0
        with open(os.path.join(folder, "format")) as file:
            text = file.read()
        need(text == "omnivisor store 1\n", "a format or feature that is not known: " + text)
        entries = {}
        listed = set()
        for name in self.names("index", ".idx"):
            packs, found = self.index(os.path.join(folder, "index", name))
            listed |= packs
            entries.update(found)
        for name in self.names("packs", ".pack"):
            number = int(name[:16], 16)
            if number in listed:
                self.pack(number, os.path.join(folder, "packs", name))
                self.packs += 1
        for key, (pack, offset) in entries.items():
            need((key, pack, offset) in self.places, "an entry of an index leads nowhere")
        self.objects = {key: data for key, data in self.objects.items() if key in entries}

    places = set()

    def names(self, folder, ending):
        path = os.path.join(self.folder, folder)
        all_names = os.listdir(path) if os.path.isdir(path) else []
        return sorted(name for name in all_names if name.endswith(ending))

    def index(self, path):
        with open(path, "rb") as file:
            data = file.read()
        need(data[:8] == b"OMNIINDX", path + ": no index")
        version, packs, count = struct.unpack("<IIQ", data[8:24])
        need(version == 1, path + ": its version is not known")
        start = 88 + 8 * packs
        need(len(data) == start + 48 * count, path + ": its size")
        need(digest(data[:56] + data[88:start]) == data[56:88], path + ": the digest of its head")
        need(digest(data[start:]) == data[24:56], path + ": the digest of its entries")
        found, last = {}, b""
        for at in range(start, len(data), 48):
            key = data[at:at + 32]
            need(key > last, path + ": its order")
            found[key] = struct.unpack("<QQ", data[at + 32:at + 48])
            last = key
        return set(struct.unpack("<%dQ" % packs, data[88:start])), found

    def pack(self, number, path):
        with open(path, "rb") as file:
            data = file.read()
        need(data[:16] == b"OMNIPACK" + struct.pack("<II", 1, 0), path + ": its header")
        need(data[-48:-40] == b"PACK-END", path + ": its footer")
        need(digest(data[:-32]) == data[-32:], path + ": its digest")
        at, seen = 16, 0
        while at < len(data) - 48:
            head = data[at:at + 48]
            need(digest(head[:44])[:4] == head[44:], "%s: the head at %d" % (path, at))
            sort, coding, zero, stored, size = struct.unpack("<BBHII", head[:12])
            need(1 <= sort <= 4 and coding < 2 and zero == 0, "%s: the head at %d" % (path, at))
            body = data[at + 48:at + 48 + stored]
            body = unzstd(body) if coding else body
            fits = len(body) == size and (sort != 1 or size == 4096) and (sort != 1 or any(body))
            need(fits, "%s: the size at %d" % (path, at))
            need(digest(body) == head[12:44], "%s: the digest at %d" % (path, at))
            self.objects[head[12:44]] = body
            self.places.add((head[12:44], number, at))
            at, seen = at + 48 + stored, seen + 1
        need(at == len(data) - 48, path + ": its last record")
        need(seen == int.from_bytes(data[-40:-32], "little"), path + ": its count")

    def get(self, key, what):
        need(key in self.objects, "%s %s is not there" % (what, key.hex()))
        return self.objects[key]

    def image(self, key, over, depth=0):
        """The count of pages below a node."""
        node, last, count = self.get(key, "the node"), -1, 0
        need(len(node) % 33 == 0 and node, "the node " + key.hex())
        for at in range(0, len(node), 33):
            slot, below = node[at], node[at + 1:at + 33]
            need(last < slot < 64, "the slots of the node " + key.hex())
            last = slot
            if below == bytes(32):
                need(over and depth == 5, "a zero page where none is needed")
            elif depth == 5:
                need(len(self.get(below, "the page")) == 4096, "the page " + below.hex())
                count += 1
            else:
                count += self.image(below, over, depth + 1)
        return count

    def tree(self, owner):
        with open(os.path.join(self.folder, "trees", owner + ".tree"), "rb") as file:
            data = file.read()
        header = b"OMNITREE" + struct.pack("<II", 1, 0)
        if len(data) < 16 and header.startswith(data):
            return []
        need(data[:16] == header, owner + ": the header of its tree")
        chain, at, lines, removed = digest(header), 16, {}, {}
        while at < len(data):
            if len(data) - at < 8 or not any(data[at:]):
                break
            length = int.from_bytes(data[at:at + 4], "little")
            fits = digest(chain + data[at:at + 4])[:4] == data[at + 4:at + 8]
            need(fits, "%s: the line at %d" % (owner, at))
            end = at + 16 + length
            if end > len(data):
                break
            body, check = data[at + 8:end - 8], data[end - 8:end]
            whole = digest(chain + data[at:at + 4] + body)
            if whole[:8] != check and check == bytes(8) and end == len(data):
                break
            need(whole[:8] == check, "%s: the line at %d" % (owner, at))
            chain, at, line = whole, end, Reader(body)
            if line.number(1) == 1:
                key, parent, tag = line.digest(), line.optional_digest(), line.text()
                time, tick, state = line.number(8), line.number(8), line.digest()
                total, new, grown = line.number(8), line.number(8), line.number(8)
                lines[key] = (tag, parent, time, tick, state, total, new, grown)
            else:
                key = line.digest()
                removed[key] = lines.pop(key)[1]
            line.end()
        for key, (tag, parent, *rest) in lines.items():
            while parent in removed:
                parent = removed[parent]
            yield key, tag, parent, rest

    def manifest(self, key):
        from_bytes = Reader(self.get(key, "the manifest"))
        need(from_bytes.number(4) == 1, "the version of the manifest " + key.hex())
        parts = {}
        for _ in range(from_bytes.number(4)):
            name, required, content = from_bytes.text(), from_bytes.flag(), from_bytes.bytes()
            known = name in ("about", "machine", "name", "pending", "records", "spaces", "spec")
            need(known or not required, "the manifest %s needs '%s'" % (key.hex(), name))
            parts[name] = Reader(content)
        from_bytes.end()
        return parts

    def check(self, key, state):
        """Holds a snapshot against the digest of its state."""
        parts = self.manifest(key)
        spec = parts["spec"]
        self.get(spec.digest(), "the spec")
        for _ in range(spec.number(4)):
            spec.text()
            self.get(spec.digest(), "a file of the spec")
        spec.end()
        records = self.get(parts["records"].digest(), "the records")
        digests = b""
        spaces = parts["spaces"]
        for _ in range(spaces.number(4)):
            spaces.text()
            spaces.number(8)
            root, base = spaces.optional_digest(), spaces.optional_digest()
            if root:
                self.image(root, base is not None)
            own = root or bytes(32)
            digests += digest(base + own) if base else own
        spaces.end()
        machine = parts["machine"]
        machine.text()
        machine.number(4)
        machine.number(8)
        need(machine.digest() == state, "the state of the snapshot " + key.hex())
        machine.end()
        need(digest(records + digest(digests)) == state, "the digest of the state of " + key.hex())


def main():
    store = Store(sys.argv[1])
    for name in store.names("trees", ".tree"):
        owner = name[:-5]
        for key, tag, parent, (_, tick, state, *_) in store.tree(owner):
            store.check(key, state)
            above = parent.hex() if parent else "-"
            print(owner, tag, key.hex(), above, tick, state.hex())


try:
    main()
except Damage as damage:
    print("damaged:", damage, file=sys.stderr)
    sys.exit(1)
