"""pysword: the verses of the one module in a folder, with their markup, by name."""

import json
import sys

from pysword.modules import SwordModules

modules = SwordModules(sys.argv[1])
(name,) = modules.parse_modules()
bible = modules.get_bible_from_module(name)
found = {}
for books in bible.get_structure().get_books().values():
    for book in books:
        for chapter, length in enumerate(book.chapter_lengths, 1):
            texts = bible.get_iter(books=[book.name], chapters=[chapter], clean=False)
            for verse, text in zip(range(1, length + 1), texts, strict=True):
                found[f"{book.osis_name} {chapter}:{verse}"] = text
print(json.dumps(found))
