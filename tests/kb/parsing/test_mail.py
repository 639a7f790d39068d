"""Mails and web archives: what they say, their attachments, and hostile ones."""

from __future__ import annotations

import base64
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import compressed_rtf
import pytest

from kb.errors import WrongFormat
from kb.models import ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing import detect_media_type, joined, media_types, parse_file, parse_source
from kb.parsing.builder import Source
from tests.kb.parsing import parsing_samples as samples


def parse(folder: Path, name: str, content: bytes | str) -> ParsedDocument:
    return parse_file(samples.write(folder, "stored", content), name)


def titles(document: ParsedDocument) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


def make_mail(subject: str = "Rent", text: str = "See the files.") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = subject, "Anna <anna@a.example>", "bob@a.example"
    mail["Date"] = "Mon, 3 Jun 2024 09:00:00 +0200"
    mail.set_content(text)
    return mail


def test_a_mail_keeps_its_attachments(tmp_path: Path) -> None:
    mail = make_mail("房租 2024")
    mail.add_alternative("<p>Die <b>Miete</b></p><table><tr><th>Month</th><th>EUR</th></tr><tr><td>May</td><td>990</td>"
                         "</tr></table><img src='cid:1'>", subtype="html")  # fmt: skip
    mail.add_attachment(samples.make_docx(), maintype="application", subtype="octet-stream", filename="合同.docx")
    mail.add_attachment("a;b\n1;2\n", subtype="csv", filename="list.csv")
    mail.add_attachment(b"\x89PNG" + bytes(99), maintype="image", subtype="png", filename="scan.png")
    mail.add_attachment(make_mail("Old", "It was 900 EUR."))
    document = parse(tmp_path, "a.eml", mail.as_bytes())
    assert document.title == "房租 2024"
    assert document.text.startswith(
        "房租 2024\nFrom: Anna <anna@a.example>\nTo: bob@a.example\nDate: Mon, 03 Jun 2024 09:00:00 +0200\n"
        "Attachments: 合同.docx, list.csv, scan.png, Old\n\nDie Miete\n\nMonth: May; EUR: 990\n\n合同.docx"
    )
    assert "a: 1; b: 2" in document.text
    assert document.text.endswith("It was 900 EUR.")
    found = titles(document)
    assert (found[0], found[1], found[-2:]) == ((1, "房租 2024"), (2, "合同.docx"), [(2, "list.csv"), (2, "Old")])
    assert found[2][0] == 3  # the headings of an attachment are below its name
    assert document.notes == (Note(NoteKind.UNREAD_ATTACHMENTS, 1, (), ("scan.png",)),)


def test_reading_goes_on_behind_an_attachment_that_failed(tmp_path: Path) -> None:
    inner = make_mail("Old", "Inner text.")
    inner.add_attachment("one", filename="one.txt")
    mail = make_mail()
    mail.add_attachment(inner)
    mail.add_attachment("two", filename="two.txt")
    path = samples.write(tmp_path, "a.eml", mail.as_bytes())

    def read(first_page: int, *skipped: int) -> ParsedDocument:
        return joined(parse_source(Source(path, "a.eml", media_types.MAIL, report, first_page, frozenset(skipped))))

    reported: list[tuple[int, int]] = []
    report = lambda *done: reported.append(done)  # noqa: E731
    whole = read(1)
    assert reported == [(1, 3), (2, 4), (3, 4), (4, 4)]
    rest = read(3, 3)
    assert whole.text.endswith("Inner text.\n\none.txt\n\none\n\ntwo.txt\n\ntwo")
    assert rest.text == "\n\ntwo.txt\n\ntwo"
    assert rest.notes == (Note(NoteKind.UNREAD_ATTACHMENTS, 1, (), ("one.txt",)),)


def test_all_parts_of_a_mail_are_read(tmp_path: Path) -> None:
    mail = MIMEMultipart("mixed")
    mail["Subject"] = "Rent"
    both = MIMEMultipart("alternative")
    both.attach(MIMEText("plain form"))
    both.attach(MIMEText("<p>page form</p>", "html"))
    for part in (MIMEText("First."), both, MIMEText("The list's address.")):
        mail.attach(part)
    assert parse(tmp_path, "a.eml", mail.as_bytes()).text == "Rent\n\nFirst.\n\npage form\n\nThe list's address."


EVENT = """BEGIN:VCALENDAR\r
BEGIN:VEVENT\r
SUMMARY:Budget\r
DTSTART;TZID=Europe/Berlin:20240607T140000\r
DTEND:20240607T130000Z\r
LOCATION:Room 4\\, left\r
DESCRIPTION:Bring the nu\r
 mbers.\\nJo\r
ORGANIZER;CN="Jo: B":mailto:jo@a.example\r
BEGIN:VALARM\r
DESCRIPTION:Ring\r
END:VALARM\r
END:VEVENT\r
END:VCALENDAR\r
"""


def test_an_invitation_says_when_and_where(tmp_path: Path) -> None:
    lines = "Start: 2024-06-07 14:00 (Europe/Berlin)\nEnd: 2024-06-07 13:00 UTC\nWhere: Room 4, left\n"
    lines += "Bring the numbers.\nJo\nOrganizer: Jo: B <jo@a.example>"
    mail = make_mail("Budget", "You are invited.")
    mail.add_alternative(EVENT, subtype="calendar")
    assert parse(tmp_path, "a.eml", mail.as_bytes()).text.endswith(f"\n\nYou are invited.\n\n{lines}")
    assert parse(tmp_path, "a.ics", EVENT).text == f"Budget\n{lines}"


def test_a_mailbox_and_mails_under_other_names(tmp_path: Path) -> None:
    first, second = make_mail("One", "First.").as_bytes(), make_mail("Two", "Second.").as_bytes()
    mark = b"From a@a.example Mon Jun  3 09:00:00 2024\n"
    document = parse(tmp_path, "a.mbox", mark + first + b"\n" + mark + second)
    assert titles(document) == [(2, "One"), (2, "Two")]
    assert document.text.endswith("\n\nSecond.")
    path = samples.write(tmp_path, "message", b"Return-Path: <a@a.example>\r\n" + first.replace(b"\n", b"\r\n"))
    assert detect_media_type(path, "message") == media_types.MAIL
    prose = samples.write(tmp_path, "letter", "From: Anna\nTo: Bob\nSubject: Rent\n\nHello")
    assert detect_media_type(prose, "letter") == media_types.PLAIN


def test_an_attachment_that_is_read_in_part_is_noted(tmp_path: Path) -> None:
    mail = make_mail()
    mail.add_attachment(samples.make_pdf(["Words", None]), maintype="application", subtype="pdf", filename="a.pdf")
    document = parse(tmp_path, "a.eml", mail.as_bytes())
    assert document.notes == (Note(NoteKind.PARTLY_READ_ATTACHMENTS, 1, (), ("a.pdf",)),)
    assert not document.pages


def test_mails_in_old_encodings(tmp_path: Path) -> None:
    head = "Subject: =?gb2312?B?{}?=\nFrom: 王 <w@a.example>\nContent-Type: text/plain; charset={}\n\n三十天"
    subject = base64.b64encode("保修".encode("gbk")).decode()
    for charset in ("gb2312", "us-ascii", "no-such-charset"):
        document = parse(tmp_path, "a.eml", head.format(subject, charset).encode("gbk"))
        assert document.text == "保修\nFrom: 王 <w@a.example>\n\n三十天"
    wide = parse(tmp_path, "a.eml", head.format(subject, "utf-8").encode("utf-16-le"))
    assert wide.text.startswith("保修\nFrom: 王")


def test_lines_that_the_program_broke_are_joined(tmp_path: Path) -> None:
    mail = "Subject: x\nContent-Type: text/plain; format=flowed\n\nOne long \nsentence.\n-- \nAnna\n"
    assert parse(tmp_path, "a.eml", mail).text == "x\n\nOne long sentence.\n-- \nAnna"


def test_an_encrypted_mail_says_that_it_was_not_read(tmp_path: Path) -> None:
    mail = make_mail()
    sealed = b"-----BEGIN PGP MESSAGE-----\n\nhIwDY32h\n"
    mail.add_attachment(sealed, maintype="application", subtype="octet-stream", filename="encrypted.asc")
    document = parse(tmp_path, "a.eml", mail.as_bytes())
    assert "hIwDY" not in document.text
    assert document.notes[0].names == ("encrypted.asc",)


@pytest.mark.parametrize("is_file", [False, True])
def test_mails_within_mails(tmp_path: Path, is_file: bool) -> None:
    mail = b"Subject: S0\n\nthe core\n"
    kind = b"application/octet-stream; name=a.eml" if is_file else b"message/rfc822"
    for number in range(1, 81):
        edge = b"b%d" % number
        head = b"Subject: S%d\nContent-Type: multipart/mixed; boundary=%s\n\n" % (number, edge)
        mail = head + b"--%s\nContent-Type: %s\n\n%s\n--%s--\n" % (edge, kind, mail, edge)
        if number == 50:
            assert parse(tmp_path, "a.eml", mail).text.endswith("the core")
    document = parse(tmp_path, "a.eml", mail)  # 80 deep
    assert "S20\n" in document.text
    assert document.notes[0].kind == NoteKind.UNREAD_ATTACHMENTS


def test_a_header_without_end_takes_no_time(tmp_path: Path) -> None:
    mail = "Subject: " + "=?utf-8?q?a?= " * 50_000 + "\n\nhi"
    assert parse(tmp_path, "a.eml", mail).text.endswith("\n\nhi")


def test_a_mail_of_outlook(tmp_path: Path) -> None:
    inner = samples.make_msg({0x37: "Old", 0x1000: "It was 900 EUR."}, {}, {}, header=24)
    folders = {
        "__recip_version1.0_#00000000": samples.make_msg({0x3001: "Bob", 0x39FE: "bob@a.example"}, {0x0C15: 1}, {}, 8),
        "__recip_version1.0_#00000001": samples.make_msg({0x3001: "Carl", 0x3003: "/O=EX/CN=C"}, {0x0C15: 2}, {}, 8),
        "__attach_version1.0_#00000000": samples.make_msg(
            {0x3707: "list.csv"}, {}, {"__substg1.0_37010102": b"a;b\n1;2\n"}, 8
        ),
        "__attach_version1.0_#00000001": samples.make_msg({}, {}, {"__substg1.0_3701000D": inner}, 8),
        "__substg1.0_10130102": "<p>Die <b>Miete</b> beträgt</p>".encode("cp1252") + b" " * 5_000,
    }
    numbers = {0x3FDE: 1252, 0x39: 133_616_880_000_000_000}
    mail = samples.make_msg({0x37: "Rent", 0x0C1A: "Anna", 0x1000: "plain"}, numbers, folders)
    content = samples.make_ole(mail)
    document = parse(tmp_path, "a.msg", content)
    assert document.text == (
        "Rent\nFrom: Anna\nTo: Bob <bob@a.example>\nCc: Carl\nDate: 2024-06-01 04:00 UTC\n"
        "Attachments: list.csv, Old\n\nDie Miete beträgt\n\nlist.csv\n\na: 1; b: 2\n\nOld\n\nIt was 900 EUR."
    )
    assert titles(document) == [(1, "Rent"), (2, "list.csv"), (2, "Old")]
    assert detect_media_type(tmp_path / "stored", "no extension") == media_types.OUTLOOK_MAIL
    with pytest.raises(WrongFormat, match="Outlook"):
        parse(tmp_path, "a.docx", content)


def test_a_mail_of_outlook_in_rich_text_alone(tmp_path: Path) -> None:
    packed = compressed_rtf.compress(rb"{\rtf1\ansi The rent is 990{\super 1} EUR.\par}")
    for data, body in ((packed, "The rent is 990 [1] EUR."), (packed[:20], "")):
        content = samples.make_ole(samples.make_msg({0x37: "Rent"}, {}, {"__substg1.0_10090102": data}))
        assert parse(tmp_path, "a.msg", content).text == f"Rent\n\n{body}".strip()


def test_a_web_archive_is_the_page_in_it(tmp_path: Path) -> None:
    page = "<title>规章</title><h1>退款</h1><p>十四天</p>"
    body = base64.encodebytes(page.encode("gbk")).decode()
    archive = (
        'From: <Saved by Blink>\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/related;\n\tboundary="b"\n\n'
        f"--b\nContent-Type: text/html; charset=gb2312\nContent-Transfer-Encoding: base64\n\n{body}\n"
        "--b\nContent-Type: text/css\n\np{}\n--b--\n"
    )
    for name in ("a.mht", "a.doc"):
        document = parse(tmp_path, name, archive)
        assert (document.text, document.title, titles(document)) == ("退款\n\n十四天", "规章", [(1, "退款")])
