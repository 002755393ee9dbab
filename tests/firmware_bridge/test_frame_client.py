"""The C client against bytes that no bridge would send, under the sanitizers."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import cbor2
import pytest

from firmware_bridge.cbor import encode
from firmware_bridge.frame_messages import Accepted, Refusal, Refused
from firmware_bridge.frame_protocol import encode_answer
from tests.conftest import ROOT, skip_or_fail

GCC = Path("/usr/bin/gcc")
CLIENT = ROOT / "firmware_bridge" / "client"
READER = r"""
#include "mammoedge_bridge.h"
static const char *shown(char *text)
{
    for (char *c = text; *c != 0; c++)
        if (*c <= 32 || *c > 126)
            *c = '?';
    return text;
}
/* Reads records of a 16-bit length and as many bytes; prints what each is. */
int main(void)
{
    static uint8_t bytes[65536];
    uint8_t size[2];
    me_message m;
    while (fread(size, 1, 2, stdin) == 2) {
        size_t length = (size_t)(size[0] << 8 | size[1]);
        uint8_t *exact = malloc(length > 0 ? length : 1); /* so that one byte too far is seen */
        if (exact == NULL || fread(bytes, 1, length, stdin) != length)
            return 1;
        memcpy(exact, bytes, length);
        int verdict = me_parse(exact, length, &m);
        free(exact);
        printf("%d %d %lld %s %s %.3f %s\n", verdict, (int)m.type, (long long)m.id,
               shown(m.reason), shown(m.reasons), m.score, shown(m.flag));
    }
    return 0;
}
"""


@pytest.fixture(scope="session")
def read_in_c(tmp_path_factory):
    """What the header makes of each of some messages: a line of fields."""
    if not GCC.exists():
        skip_or_fail("gcc (Debian packages gcc, libc6-dev) is not installed")
    folder = tmp_path_factory.mktemp("reader")
    (folder / "reader.c").write_text("#include <stdlib.h>\n" + READER)
    flags = ["-D_GNU_SOURCE", "-std=c11", "-Wall", "-Wextra", "-Werror"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = folder / "reader"
    subprocess.run(
        [GCC, *flags, *sanitizers, f"-I{CLIENT}", folder / "reader.c", "-o", program], check=True
    )

    def read(messages):
        records = b"".join(len(data).to_bytes(2, "big") + data for data in messages)
        done = subprocess.run([program], input=records, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return [line.split(" ") for line in done.stdout.decode().splitlines()]

    return read


def test_the_header_reads_what_we_say(read_in_c):
    """Answers and flags, by our encoder and by cbor2's."""
    refused = Refused(id=7, reason=Refusal.BUSY, retry_after_ms=250)
    flag = {
        "type": "exam_flag",
        "id": 9,
        "views": [{"a": [1, {"b": None}]}],
        "reasons": ["implant", "no_breast"],
        "score": 0.5,
        "flag": "not_assessed",
    }
    lines = read_in_c(
        [
            encode_answer(Accepted(id=2**32 - 1)),
            encode_answer(refused),
            encode(flag),
            cbor2.dumps(flag | {"score": None}),
        ]
    )
    assert lines[0][:3] == ["0", "1", str(2**32 - 1)]
    assert lines[1][:4] == ["0", "2", "7", "busy"]
    assert lines[2] == ["0", "5", "9", "", "implant,no_breast", "0.500", "not_assessed"]
    assert lines[3][5] == "nan"


def test_damaged_messages_do_not_hurt_the_firmware(read_in_c):
    """Thousands of damaged and random messages: the sanitizers find nothing."""
    draw = random.Random(7)
    good = encode(
        {
            "type": "exam_flag",
            "version": 1,
            "id": 3,
            "reasons": ["implant"] * 90,
            "views": [{"view": "rcc", "score": 0.25}] * 3,
            "study_instance_uid": "1." * 60 + "1",
        }
    )
    messages = [b"", b"\x9f", b"\xbb" + b"\xff" * 8, b"\x7b" + b"\xff" * 8, b"\x81" * 60_000]
    for _ in range(6000):
        damaged = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        messages.append(bytes(damaged[: draw.randint(1, len(damaged))]))
        messages.append(draw.randbytes(draw.randint(0, 80)))
    lines = read_in_c(messages)
    assert len(lines) == len(messages)
    assert {line[0] for line in lines} == {"0", "-5"}
