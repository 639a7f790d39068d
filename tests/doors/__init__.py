"""Every door of the product (pages, routes, calls of the APIs, tools), tried by every kind of person and key.

`table` lists the doors and what each needs; `people` makes those who try them; `trying` tries them.
"""
