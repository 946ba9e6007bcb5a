import pytest

from tasks.sources.licences import licence_of


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"README.md": "---\nlanguage: en\nlicense: apache-2.0\ntags: [x]\n---\n# Model\n"}, "apache-2.0"),
        ({"README.md": "---\nlicense_name: gemma\n---\n", "LICENSE": "MIT License\n"}, "gemma"),
        (
            {"README.md": "# Model\nlicense: apache-2.0\n", "LICENSE": "MIT License\n\nCopyright (c) x"},
            "MIT License Copyright (c)",
        ),
        ({"LICENSE": " \n"}, "not said"),
        ({"README.md": "---\nlicense: other\nlicense_name: llama3.2\n---\n"}, "llama3.2"),
        ({"README.md": "---\nlicense: 'mit'\n---\n"}, "mit"),
        ({"README.md": "---\ntags: [x]\n---\nlicense: mit\n---\n"}, "not said"),
        ({"README.md": "---\nlicense: mit\n---\n".encode("utf-16")}, "not said"),
        ({}, "not said"),
    ],
)
def test_a_licence_is_what_the_folder_says(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    assert licence_of(tmp_path) == expected


def test_of_a_short_name_it_is_known(tmp_path):
    (tmp_path / "smollm2-135m").mkdir()
    assert licence_of(tmp_path / "smollm2-135m") == "Apache-2.0"
