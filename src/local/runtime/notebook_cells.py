"""Notebooks in Databricks' source format: a Python or SQL file whose comments part it into cells."""

TITLES = {"# Databricks notebook source": "#", "-- Databricks notebook source": "--"}


def cells(text: str):
    """(first line, language, code) of each cell of a notebook in source format that has something to run."""
    lines = text.splitlines()
    comment = TITLES.get(lines[0].strip() if lines else "", "#")
    language = "sql" if comment == "--" else "python"
    found, start = [], 0
    for index in [*(i for i, line in enumerate(lines) if line.rstrip() == f"{comment} COMMAND ----------"), len(lines)]:
        found.append((start, lines[start:index]))
        start = index + 1
    for first, body in found:
        if first == 0 and body and body[0].strip() in TITLES:
            first, body = 1, body[1:]
        while body and (not body[0].strip() or body[0].startswith(f"{comment} DBTITLE")):
            first, body = first + 1, body[1:]
        if not body:
            continue
        magic = f"{comment} MAGIC"
        if not body[0].startswith(magic):
            yield first + 1, language, "\n".join(body)
            continue
        plain = [line[len(magic):].removeprefix(" ") for line in body if line.startswith(magic)]
        name, _, rest = plain[0].removeprefix("%").partition(" ")
        yield first + 1, name.strip(), "\n".join([rest, *plain[1:]])
