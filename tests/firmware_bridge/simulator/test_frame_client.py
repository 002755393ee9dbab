"""The C client against bytes that no bridge would send, under the sanitizers."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from pathlib import Path

import cbor2
import pytest

from firmware_bridge.frame_protocol.cbor import encode
from firmware_bridge.frame_protocol.json_schema import frame_schema
from firmware_bridge.frame_protocol.messages import FIRMWARE_MESSAGES, Accepted, Refusal, Refused
from firmware_bridge.frame_protocol.protocol import encode_answer
from runtime.exams.intake_ports import Receipt
from tests.conftest import ROOT, skip_or_fail
from tests.support.waiting import CHILD_S

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


SPEAKER = r"""
#include "mammoedge_bridge.h"
#define STUDY "1.2.3"
/* Says everything that the header can say, with every member set, into the descriptor given. */
int main(int count, char **arguments)
{
    static me_bridge bridge;
    bridge.fd = count > 1 ? atoi(arguments[1]) : -1;
    const me_who who = {
        .serial = "S", .manufacturer = "M", .model = "O", .software = "W", .outcomes = true,
    };
    const me_exam exam = {
        .study_instance_uid = STUDY, .patient_id = "P", .patient_name = "A^B",
        .patient_birth_date = "19700101", .patient_sex = "F", .accession_number = "N",
        .expected_views = {"RCC", "RMLO"},
    };
    const me_technique technique = {
        .kvp = 28, .mas = 63, .thickness_mm = 51, .force_n = 90,
        .target = "TUNGSTEN", .filter = "RHODIUM",
    };
    const me_exposed exposed = {
        .study_instance_uid = STUDY, .laterality = "R", .view = "CC", .technique = technique,
        .detector_state = "ready", .detector_temperature_c = 31.5,
    };
    const me_frame frame = {
        .study_instance_uid = STUDY, .sop_instance_uid = "1.2.4", .series_instance_uid = "1.2.5",
        .laterality = "L", .view = "XCCL", .modifiers = {"spot", "magnification"},
        .for_presentation = true,
        .rows = 2, .columns = 3, .bits_stored = 12, .instance_number = 7, .monochrome1 = true,
        .window_center = 2048, .window_width = 4096,
        .row_spacing_mm = 0.1, .column_spacing_mm = 0.2, .magnification_factor = 1.8,
        .acquired_at = "20261122160358", .implant = true, .partial_view = true,
        .quality_control = true, .technique = technique,
    };
    me_pixels pixels;
    bool said = me_pixels_open(&pixels, 2, 3) == 0 && me_hello(&bridge, &who) > 0
        && me_exam_opened(&bridge, &exam) > 0 && me_exposure(&bridge, &exposed) > 0
        && me_frame_send(&bridge, &frame, &pixels) > 0
        && me_repeat(&bridge, STUDY, "1.2.4", "motion", "1.2.6") > 0
        && me_exam_closed(&bridge, STUDY) > 0
        && me_fault(&bridge, "generator_overheated", "warning") > 0
        && me_detector(&bridge, 31.5, "ready") > 0
        && me_heartbeat(&bridge) > 0 && me_acknowledge(&bridge, 9) > 0;
    me_pixels_close(&pixels);
    return said ? 0 : 1;
}
"""
ANSWER_READER = r"""
#include "mammoedge_bridge.h"
/* One message from standard input; every member that holds a field of an answer, by its name. */
int main(void)
{
    static uint8_t bytes[65536];
    me_message m;
    if (me_parse(bytes, fread(bytes, 1, sizeof bytes, stdin), &m) < 0)
        return 1;
    printf("id %lld\nreason %s\ndetail %s\nreceipt %s\n",
           (long long)m.id, m.reason, m.detail, m.receipt);
    printf("retry_after_ms %lld\nheartbeat_ms %lld\nmax_in_flight %lld\nmax_frame_bytes %lld\n",
           (long long)m.retry_after_ms, (long long)m.heartbeat_ms, (long long)m.max_in_flight,
           (long long)m.max_frame_bytes);
    return 0;
}
"""


def compiled(folder: Path, source: str) -> Path:
    """The program, under the sanitizers."""
    if not GCC.exists():
        skip_or_fail("gcc (Debian packages gcc, libc6-dev) is not installed")
    (folder / "program.c").write_text("#include <stdlib.h>\n" + source)
    flags = ["-D_GNU_SOURCE", "-std=c11", "-Wall", "-Wextra", "-Werror"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = folder / "program"
    subprocess.run(
        [GCC, *flags, *sanitizers, f"-I{CLIENT}", folder / "program.c", "-o", program],
        check=True,
        timeout=CHILD_S,
    )
    return program


@pytest.fixture(scope="session")
def read_in_c(tmp_path_factory):
    """What the header makes of each of some messages: a line of fields."""
    program = compiled(tmp_path_factory.mktemp("reader"), READER)

    def read(messages):
        records = b"".join(len(data).to_bytes(2, "big") + data for data in messages)
        done = subprocess.run(
            [program], input=records, capture_output=True, check=False, timeout=CHILD_S
        )
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


def everything_said(program: Path) -> list[dict]:
    """The messages of the speaker, in its order."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    messages = []
    with ours:
        with theirs:
            done = subprocess.run(
                [program, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                capture_output=True,
                check=False,
                timeout=CHILD_S,
            )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        while True:
            data, descriptors, _, _ = socket.recv_fds(ours, 1 << 16, 1)
            if not data:
                return messages
            for descriptor in descriptors:
                os.close(descriptor)
            messages.append(cbor2.loads(data))


def properties(schema: dict, definitions: dict) -> dict[str, dict]:
    """The fields of an object's schema, references and optional ones resolved."""
    found = {}
    for name, field in schema["properties"].items():
        options = [field, *field.get("anyOf", [])]
        (reference,) = {o["$ref"] for o in options if "$ref" in o} or {None}
        found[name] = definitions[reference.rsplit("/", 1)[-1]] if reference else field
    return found


def missing_fields(message: dict, schema: dict, definitions: dict) -> set[str]:
    """What the schema has and the message, with everything set, does not say."""
    known = properties(schema, definitions)
    missing = set(known) - set(message)
    for name, field in known.items():
        if name in message and "properties" in field:
            missing |= {
                f"{name}.{part}" for part in missing_fields(message[name], field, definitions)
            }
    return missing


def test_the_header_says_everything_that_the_schema_has(tmp_path):
    """Every message type and every field of `frame-schema`; and each is taken as it is said."""
    said = {m["type"]: m for m in everything_said(compiled(tmp_path, SPEAKER))}
    schema = frame_schema()["firmware_says"]
    kinds = {
        kind: schema["$defs"][reference.rsplit("/", 1)[-1]]
        for kind, reference in schema["discriminator"]["mapping"].items()
    }
    assert set(said) == set(kinds)
    for kind, message in said.items():
        FIRMWARE_MESSAGES.validate_python(message)
        assert missing_fields(message, kinds[kind], schema["$defs"]) == set(), kind


def test_the_header_reads_every_field_of_an_answer(tmp_path):
    """What `accepted` and `refused` can hold arrives in a member of the same name."""
    program = compiled(tmp_path, ANSWER_READER)
    answers = (
        Accepted(
            id=5,
            receipt=Receipt.TWIN,
            heartbeat_ms=4000,
            max_in_flight=3,
            max_frame_bytes=1 << 28,
        ),
        Refused(id=6, reason=Refusal.BUSY, detail="out of room", retry_after_ms=250),
    )
    for answer in answers:
        done = subprocess.run(
            [program], input=encode_answer(answer), capture_output=True, check=True, timeout=CHILD_S
        )
        read = dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())
        for name in set(type(answer).model_fields) - {"type", "version"}:
            assert read[name] == str(getattr(answer, name)), name
