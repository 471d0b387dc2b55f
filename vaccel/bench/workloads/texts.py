"""Text files of several types, each as a person might have written it; for ``workloads.files``."""

from __future__ import annotations

PYTHON = '''\
"""Count the words of the files that are named on the command line."""

import sys
from collections import Counter
from pathlib import Path


def count(path: Path) -> Counter[str]:
    words = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        words.update(word.strip(".,;:!?").lower() for word in line.split())
    return words


def main() -> int:
    total = Counter()
    for name in sys.argv[1:]:
        total += count(Path(name))
    for word, times in total.most_common(20):
        print(f"{times:6d}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''

C = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list {
    int value;
    struct list *next;
};

static struct list *push(struct list *head, int value)
{
    struct list *node = malloc(sizeof(*node));
    if (node == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    node->value = value;
    node->next = head;
    return node;
}

int main(int argc, char **argv)
{
    struct list *head = NULL;
    for (int i = 1; i < argc; i++)
        head = push(head, atoi(argv[i]));
    for (struct list *node = head; node != NULL; node = node->next)
        printf("%d\\n", node->value);
    return 0;
}
"""

HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Opening hours of the library</title>
  <link rel="stylesheet" href="style.css">
</head>
<body>
  <div id="page">
    <h1>The library is open</h1>
    <table class="hours">
      <tr><th>Day</th><th>From</th><th>To</th></tr>
      <tr><td>Monday</td><td>9:00</td><td>18:00</td></tr>
      <tr><td>Tuesday</td><td>9:00</td><td>20:00</td></tr>
    </table>
    <ul>
      <li><a href="/search.html">Search for a book</a></li>
      <li><a href="mailto:desk@library.example">Write to the desk</a></li>
    </ul>
    <img src="map.png" alt="The way from the station" width="320" height="200">
  </div>
  <script>
    document.getElementById("page").className = "ready";
  </script>
</body>
</html>
"""

JSON = """\
{
  "station": "Harbour bridge",
  "position": {"latitude": 35.1, "longitude": 129.04},
  "readings": [
    {"time": "2024-03-01T06:00:00Z", "wind": 7.4, "gust": 11.2, "ok": true},
    {"time": "2024-03-01T06:10:00Z", "wind": 8.1, "gust": 12.9, "ok": true},
    {"time": "2024-03-01T06:20:00Z", "wind": null, "gust": null, "ok": false}
  ]
}
"""

CSS = """\
:root {
  --ink: #1d1f21;
  --paper: #fdfcf8;
}

body {
  margin: 0 auto;
  max-width: 42rem;
  color: var(--ink);
  background: var(--paper);
  font: 1rem/1.5 Georgia, serif;
}

table td,
table th {
  padding: 0.25rem 0.75rem;
  border-bottom: 1px solid rgba(0, 0, 0, 0.15);
}

@media (max-width: 30rem) {
  h1 { font-size: 1.4rem; }
}
"""

MARKDOWN = """\
# Bread with an overnight rise

A loaf for people who **sleep** while the dough works.

## You need

- 500 g of strong flour
- 350 ml of water
- 10 g of salt
- 1 g of dry yeast

## What to do

1. Mix everything, cover the bowl and go to bed.
2. Fold the dough four times, then let it rest for an hour.
3. Bake it in a hot pot: 30 minutes with the lid, 15 without.

See also [the notes on flour](flour.md) and run `timer 45m` so that you do not forget.
"""

SHELL = """\
#!/bin/sh
# Keep the last seven backups of a folder.
set -eu

source_dir=${1:?usage: backup.sh DIR TARGET}
target_dir=${2:?usage: backup.sh DIR TARGET}
stamp=$(date +%Y-%m-%d)

mkdir -p "$target_dir"
tar -C "$source_dir" -czf "$target_dir/$stamp.tar.gz" .

ls -1 "$target_dir"/*.tar.gz | sort -r | tail -n +8 | while read -r old; do
    echo "removing $old"
    rm -f -- "$old"
done
"""

INI = """\
; settings of the label printer
[printer]
device = /dev/usb/lp0
dpi = 203
darkness = 12

[label]
width_mm = 62
height_mm = 29
font = DejaVu Sans

[log]
level = info
file = /var/log/labels.log
"""

SQL = """\
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    name VARCHAR(80) NOT NULL,
    city VARCHAR(40),
    joined DATE DEFAULT CURRENT_DATE
);

INSERT INTO customers (id, name, city) VALUES (1, 'Ada', 'London');
INSERT INTO customers (id, name, city) VALUES (2, 'Blaise', 'Paris');

SELECT city, COUNT(*) AS people
FROM customers
WHERE joined >= '2024-01-01'
GROUP BY city
HAVING COUNT(*) > 1
ORDER BY people DESC;
"""

CSV = """\
date,city,high_c,low_c,rain_mm
2024-03-01,Busan,13.2,4.1,0.0
2024-03-01,Daejeon,10.8,-0.5,0.2
2024-03-01,Seoul,8.9,-1.7,1.4
2024-03-02,Busan,14.0,5.3,0.0
2024-03-02,Daejeon,11.5,0.9,0.0
2024-03-02,Seoul,9.6,0.2,0.0
2024-03-03,Busan,12.1,6.6,7.8
2024-03-03,Daejeon,9.9,2.4,5.1
2024-03-03,Seoul,7.3,1.8,3.9
"""
