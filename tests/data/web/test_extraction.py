"""Main text with the page's pictures placed into it."""

from __future__ import annotations

import pytest

pytest.importorskip("trafilatura")
pytest.importorskip("resiliparse")

from kosmos.data.web.extraction import decode_page, extract_page, is_in_language, main_text
from kosmos.data.web.page import interleave, tidy
from kosmos.data.web.placement import place_pictures
from kosmos.data.web.reading_order import PictureLink, TextRun

FIRST = "The lighthouse at the end of the pier was built in the year of the great storm, and it has stood ever since."
SECOND = "Its keeper climbed the winding stairs every evening to light the lamp, which could be seen for twenty miles."
THIRD = "Today the lamp is electric and nobody climbs the stairs, but visitors come to see the view from the gallery."


def page(*body: str) -> str:
    return f"<html><head><title>Pier</title></head><body><article>{''.join(body)}</article></body></html>"


def link(src: str, furniture: bool = False) -> PictureLink:
    return PictureLink(src, 0, 0, furniture)


def test_pictures_stand_where_they_stood() -> None:
    html = page(
        f"<p>{FIRST}</p><div class='figure'><img src='a.png' alt='Not in the text'></div><p>{SECOND}</p>",
        f"<p>{THIRD}</p><img src='b.png'>",
    )
    extracted = extract_page(html)
    assert extracted.text == f"{FIRST}\n{SECOND}\n{THIRD}"
    places = [(offset, src) for offset, src, _, _ in extracted.pictures]
    texts, images = interleave(extracted.text, places)
    assert texts == [FIRST, None, f"{SECOND}\n{THIRD}", None]
    assert images == [None, "a.png", None, "b.png"]


def test_a_picture_inside_a_sentence_splits_it_there() -> None:
    html = page(f"<p>{FIRST}</p><p>Press the button <img src='x.png' width=16> in the corner, and wait for it.</p>")
    extracted = extract_page(html)
    offset, src, width, height = extracted.pictures[0]
    assert (src, width, height) == ("x.png", 16, 0)
    assert extracted.text[:offset].endswith("Press the button")
    assert extracted.text[offset:].startswith(" in the corner")


def test_words_in_spans_called_menu_are_text() -> None:
    html = page(f"<p>{FIRST}</p><p>Choose the <span class='guimenu'>Filters</span> entry, then take the next one.</p>")
    assert "Choose the Filters entry" in extract_page(html).text


def test_pictures_of_menus_and_footers_are_furniture() -> None:
    menu = "<nav><a href='/'><img src='logo.png'>Home of everything</a></nav>"
    footer = "<footer><p>Imprint and more</p><img src='seal.png'></footer>"
    html = f"<html><body>{menu}<main><p>{FIRST}</p><img src='a.png'><p>{SECOND}</p></main>{footer}</body></html>"
    extracted = extract_page(html)
    assert [src for _, src, _, _ in extracted.pictures] == ["a.png"]
    assert extracted.furniture == 2


def test_lazy_pictures_are_found_by_their_real_address() -> None:
    placeholder = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    html = page(
        f"<p>{FIRST}</p><img src='{placeholder}' data-src='late.jpg'><p>{SECOND}</p>",
        f"<img srcset='s.jpg 300w, l.jpg 900w'><p>{THIRD}</p><noscript><img src='late.jpg'></noscript>",
    )
    assert [src for _, src, _, _ in extract_page(html).pictures] == ["late.jpg", "l.jpg"]


@pytest.mark.parametrize(
    ("data", "charset", "expected"),
    [
        ("Größe".encode(), "", "Größe"),
        ("Größe".encode(), "iso-8859-1", "Größe"),  # valid UTF-8 is UTF-8, whatever was declared
        ("Größe".encode("utf-8-sig"), "", "Größe"),
        ("Größe".encode("latin-1"), "iso-8859-1", "Größe"),
        (b'<meta charset="windows-1251">' + "Мир".encode("cp1251"), "", '<meta charset="windows-1251">Мир'),
        ("Größe".encode("latin-1"), "no-such-charset", "Größe"),
    ],
)
def test_encodings(data: bytes, charset: str, expected: str) -> None:
    assert decode_page(data, charset) == expected


def test_language() -> None:
    assert is_in_language(FIRST, "en") is True
    assert is_in_language("Der Leuchtturm am Ende der Mole wurde im Jahr des großen Sturms gebaut.", "en") is False
    assert is_in_language("", "en") is None


def test_main_text_has_one_line_for_each_block() -> None:
    xml = "<doc><main><head>A</head><list><item>one\n two</item><item>three</item></list><p>end</p></main></doc>"
    assert main_text(xml) == "A\none two\nthree\nend"
    assert main_text("<doc/>") == ""


def test_short_runs_do_not_jump_ahead() -> None:
    text = f"{FIRST} {SECOND} {THIRD} File"
    placed, far = place_pictures(text, [TextRun("File"), link("menu.png"), TextRun(FIRST), link("a.png")])
    # The menu's "File" is not the one at the end; its picture is near the first sentence all the same.
    assert [(place.offset, place.link.src) for place in placed] == [(0, "menu.png"), (len(FIRST), "a.png")]
    assert far == 0


def test_pictures_behind_much_dropped_text_are_far() -> None:
    advert = TextRun("Buy it now while the offer lasts. " * 20)
    placed, far = place_pictures(FIRST, [TextRun(FIRST), link("a.png"), advert, link("far.png"), advert])
    assert [place.link.src for place in placed] == ["a.png"]
    assert far == 1


def test_a_run_with_a_word_left_out_is_found_by_its_beginning() -> None:
    text = f"{FIRST} {SECOND.replace('the winding stairs', '')} {THIRD}"
    placed, _ = place_pictures(text, [TextRun(FIRST), TextRun(SECOND), link("a.png"), TextRun(THIRD)])
    assert text[: placed[0].offset].endswith("twenty miles.")


def test_tidy_and_interleave() -> None:
    assert tidy("  a \t b \n\n \n c ") == "a b\nc"
    assert interleave("one two", [(0, "A"), (0, "B"), (7, "C")]) == (
        [None, None, "one two", None],
        ["A", "B", None, "C"],
    )
    assert interleave("one two", [(3, "A")]) == (["one", None, "two"], [None, "A", None])
