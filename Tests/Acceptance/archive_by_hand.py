"""Archives made from the directories of stopped SQLite nodes, after docs/formats.md and nothing else.

No code of Flotilla takes part: what it restores from here, anybody could have written.
"""

import ctypes
import ctypes.util
import json
import os
import shutil
import sqlite3
import struct
import tempfile


class _Hash(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def _xxhash():
    name = ctypes.util.find_library("xxhash")
    if name is None:
        return None
    function = ctypes.CDLL(name).XXH3_128bits_withSeed
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    function.restype = _Hash
    return function


_hash = _xxhash()


def is_possible():
    return _hash is not None


_table = []
for _number in range(256):
    for _ in range(8):
        _number = (_number >> 1) ^ (0x82F63B78 if _number & 1 else 0)
    _table.append(_number)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data, offset=0):
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7


def blob(data):
    return varint(len(data)) + data


def content_hash(rows):
    mask = (1 << 64) - 1
    total = 0
    for key, value in rows:
        k = _hash(key, len(key), len(key))
        v = _hash(value, len(value), k.low ^ k.high)
        total += ((v.high + k.high & mask) << 64) | (v.low ^ k.low)
    return f"{len(rows)}:{total & (1 << 128) - 1:032x}"


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return {"name": os.path.basename(path), "bytes": len(data), "crc32c": crc32c(data)}


def write_family(rows, directory):
    """Portable chunks, and their manifest."""
    os.makedirs(directory)
    files, body, count = [], b"", 0
    for position, (key, value) in enumerate(rows):
        body += varint(len(key)) + varint(len(value)) + key + value
        count += 1
        if len(body) >= 1 << 20 or position == len(rows) - 1:
            chunk = b"FCK1" + struct.pack("<III", count, len(body), crc32c(body)) + body
            files.append(write(os.path.join(directory, f"{len(files)}.chunk"), chunk))
            body, count = b"", 0
    manifest = {
        "format": "portable-1", "files": files, "keys": len(rows),
        "bytes": sum(len(key) + len(value) for key, value in rows), "contentHash": content_hash(rows)}
    if rows:
        manifest["firstKey"], manifest["lastKey"] = list(rows[0][0]), list(rows[-1][0])
    text = "portable-1\n" + "".join(f"{file['name']}\n{file['bytes']}\n{file['crc32c']}\n" for file in files)
    text += f"{manifest['keys']}\n{manifest['bytes']}\n"
    for name in ("firstKey", "lastKey"):
        text += (",".join(map(str, manifest[name])) if rows else "-") + "\n"
    manifest["seal"] = crc32c((text + manifest["contentHash"] + "\n").encode())
    return manifest


class StoppedNode:
    """Reads a copy, so that SQLite leaves the directory as it is."""

    def __init__(self, directory):
        with open(os.path.join(directory, "FLOTILLA")) as file:
            self.identity = json.load(file)
        self.scratch = tempfile.mkdtemp(prefix="flotilla-archive-")
        shutil.copytree(os.path.join(directory, "engine"), os.path.join(self.scratch, "engine"))
        self.database = sqlite3.connect(os.path.join(self.scratch, "engine", "engine.db"))
        gid = struct.pack(">Q", self.identity["groupId"])
        row = dict(self.rows(1))[b"group/" + gid]
        self.meta = dict(self.rows(struct.unpack(">Q", row[8:16])[0]))
        self.applied, offset = read_varint(self.meta[b"\x10"])
        self.term, offset = read_varint(self.meta[b"\x10"], offset)
        self.log_time, _ = read_varint(self.meta[b"\x10"], offset)

    def close(self):
        self.database.close()
        shutil.rmtree(self.scratch, True)

    def rows(self, family):
        return [(bytes(key), bytes(value)) for key, value in self.database.execute(f"SELECT k, v FROM f{family} ORDER BY k")]

    def save(self, archive):
        """Writes the group; its row of the archive's manifest."""
        role, gid = self.identity["role"], self.identity["groupId"]
        path = os.path.join(archive, "controller" if role == "controller" else f"group-{gid}")
        os.makedirs(path)
        families = sorted((key[1:], value) for key, value in self.meta.items() if key[0] == 0x20)
        state = sorted((key, value) for key, value in self.meta.items() if key[0] == 0x40)
        header = b"\x01" + blob(self.meta[b"\x10"]) + blob(self.meta[b"\x11"]) + varint(len(state))
        header += b"".join(blob(key) + blob(value) for key, value in state) + varint(len(families))
        header += b"".join(blob(name) for name, _ in families)
        rows = []
        for number, (name, family) in enumerate(families):
            manifest = write_family(self.rows(struct.unpack(">Q", family)[0]), os.path.join(path, str(number)))
            rows.append({"name": name.decode(), "path": str(number), "manifest": manifest})
        return {
            "role": role, "gid": gid, "nodeId": self.identity["nodeId"], "engine": self.identity["engine"],
            "appliedIndex": self.applied, "appliedTerm": self.term, "logTimeMs": self.log_time,
            "header": write(os.path.join(path, "header"), header), "families": rows}


def backup(groups, archive):
    """`groups`: for each the directories of its nodes; the one that is furthest is saved."""
    os.makedirs(archive)
    manifest = {"format": 1, "kind": "backup", "createdAtMs": 1, "madeBy": "archive_by_hand.py", "groups": []}
    for directories in groups:
        nodes = [StoppedNode(directory) for directory in directories]
        try:
            best = max(nodes, key=lambda node: (node.term, node.applied))
            manifest["clusterId"] = best.identity["clusterId"]
            manifest["groups"].append(best.save(archive))
        finally:
            for node in nodes:
                node.close()
    manifest["groups"].sort(key=lambda group: group["gid"])
    data = json.dumps(manifest, indent=2).encode()
    write(os.path.join(archive, "MANIFEST.json"), data)
    write(os.path.join(archive, "SEAL"), f"flotilla-archive-1 {len(data)} {crc32c(data):08x}\n".encode())
