"""XMP sidecars: files with the keywords of a photo, which photo programs read.

A sidecar of photo.jpg is photo.jpg.xmp, as darktable and digiKam name them. Lightroom reads
sidecars of raw photos only.
"""

from xml.etree import ElementTree

X, DC = "adobe:ns:meta/", "http://purl.org/dc/elements/1.1/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LIGHTROOM = "http://ns.adobe.com/lightroom/1.0/"
ROOT = "Fieldmark"  # of the tree of keywords
for prefix, address in (("x", X), ("rdf", RDF), ("dc", DC), ("lr", LIGHTROOM)):
    ElementTree.register_namespace(prefix, address)


def keywords_of(row: dict) -> tuple[list[str], list[str]]:
    """Return flat keywords of a row, and keywords in a tree, whose levels are separated by |.

    Names of a shortlist are only in the tree, so that a search for a species finds certain ones.
    """
    if row["kind"] == "species":
        name = row["common_name"] or row["label"]
        names = dict.fromkeys([name, row["scientific_name"] or name])
        return list(names), [f"{ROOT}|species|{name}"]
    tree = [f"{ROOT}|{row['kind']}|{label}" for label in row["shortlist"]]
    return [f"{row['kind']} bird"], tree or [f"{ROOT}|{row['kind']}"]


def format_sidecar(flat: list[str], tree: list[str]) -> bytes:
    """Return the content of a sidecar with flat keywords and keywords in a tree."""
    root = ElementTree.Element(f"{{{X}}}xmpmeta")
    description = ElementTree.SubElement(
        ElementTree.SubElement(root, f"{{{RDF}}}RDF"),
        f"{{{RDF}}}Description",
        {f"{{{RDF}}}about": ""},
    )
    for name, words in ((f"{{{DC}}}subject", flat), (f"{{{LIGHTROOM}}}hierarchicalSubject", tree)):
        bag = ElementTree.SubElement(ElementTree.SubElement(description, name), f"{{{RDF}}}Bag")
        for word in words:
            ElementTree.SubElement(bag, f"{{{RDF}}}li").text = word
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True) + b"\n"
