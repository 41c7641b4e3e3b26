-- Inserts, indices, joins, sorting and grouping in memory; prints what they come to.
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, shelf INTEGER);
CREATE TABLE sale (id INTEGER PRIMARY KEY, item INTEGER, count INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO item SELECT i, printf('item-%05x', i * 7919 % 65536), i * 31 % 1000, i % 97 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO sale SELECT i, i * 613 % 20000 + 1, i % 9 + 1 FROM n;
CREATE INDEX by_name ON item (name);
CREATE INDEX by_item ON sale (item);
SELECT shelf, count(*), sum(price * count) FROM sale JOIN item ON item.id = sale.item
  GROUP BY shelf ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM item WHERE name LIKE '%f0%';
SELECT sum(length(a.name)) FROM item a JOIN item b ON b.id = a.id + 1 WHERE a.name < b.name;
UPDATE item SET price = price + 1 WHERE id IN (SELECT item FROM sale WHERE count > 7);
SELECT sum(price), max(name), min(name) FROM item;
