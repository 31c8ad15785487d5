-- schema
SELECT * FROM `shop`.`orders` AS t LIMIT 0;

-- profile of a window
SELECT count(*),
  max(`at`),
  JSON_ARRAY(count(`amount`), count(CASE WHEN CAST(`amount` AS DOUBLE) <= -5e-324 THEN 1 END), count(CASE WHEN CAST(`amount` AS DOUBLE) <= 0e+00 THEN 1 END), count(CASE WHEN CAST(`amount` AS DOUBLE) <= 1.25e+01 THEN 1 END)),
  JSON_ARRAY(count(`quantity`), count(CASE WHEN CAST(`quantity` AS DOUBLE) <= 1e+01 THEN 1 END), count(CASE WHEN CAST(`quantity` AS DOUBLE) <= 1e+06 THEN 1 END)),
  JSON_ARRAY(count(`provider`), count(CASE WHEN CAST(CONVERT(`provider` USING utf8mb4) AS BINARY) = 'visa' THEN 1 END), count(CASE WHEN CAST(CONVERT(`provider` USING utf8mb4) AS BINARY) = 'O''Brien' THEN 1 END), count(CASE WHEN CAST(CONVERT(`provider` USING utf8mb4) AS BINARY) NOT IN ('visa', 'O''Brien', 'back\\slash', '') THEN 1 END)),
  JSON_ARRAY(count(`gift`), count(CASE WHEN CAST(CONVERT(`gift` USING utf8mb4) AS BINARY) = 'true' THEN 1 END), count(CASE WHEN CAST(CONVERT(`gift` USING utf8mb4) AS BINARY) = 'false' THEN 1 END)),
  JSON_ARRAY(count(`seen`), count(CASE WHEN `seen` > `at` - INTERVAL 0 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 60 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 300 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 900 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 3600 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 21600 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 86400 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 604800 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 2592000 SECOND THEN 1 END), count(CASE WHEN `seen` >= `at` - INTERVAL 31536000 SECOND THEN 1 END)),
  JSON_ARRAY(count(`born`), count(CASE WHEN `born` > `at` - INTERVAL 0 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 60 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 300 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 900 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 3600 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 21600 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 86400 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 604800 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 2592000 SECOND THEN 1 END), count(CASE WHEN `born` >= `at` - INTERVAL 31536000 SECOND THEN 1 END)),
  JSON_ARRAY(count(`notes`))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- profile of a table without a timestamp column
SELECT count(*),
  JSON_ARRAY(count(`born`), count(CASE WHEN `born` > TIMESTAMP '2026-11-24 06:00:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-11-24 05:59:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-11-24 05:55:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-11-24 05:45:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-11-24 05:00:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-11-24 00:00:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-11-23 06:00:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-11-17 06:00:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2026-10-25 06:00:00.000000' THEN 1 END), count(CASE WHEN `born` >= TIMESTAMP '2025-11-24 06:00:00.000000' THEN 1 END))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM (
SELECT * FROM shop.orders
) AS t) AS t;

-- latest record
SELECT count(*),
  max(`at`)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- statistics that choose bins
SELECT count(*),
  JSON_ARRAY(count(`amount`), count(DISTINCT `amount`)),
  JSON_ARRAY(count(`quantity`), count(DISTINCT `quantity`)),
  JSON_ARRAY(count(`provider`), count(DISTINCT `provider`)),
  JSON_ARRAY(count(`gift`), count(DISTINCT `gift`))
FROM `shop`.`orders` AS t;

-- quantiles
SELECT (SELECT JSON_ARRAY(min(CASE WHEN place >= 0e+00 * n THEN v END), min(CASE WHEN place >= 2.5e-01 * n THEN v END), min(CASE WHEN place >= 5e-01 * n THEN v END), min(CASE WHEN place >= 7.5e-01 * n THEN v END)) FROM (SELECT v, row_number() OVER (ORDER BY v) AS place, count(*) OVER () AS n FROM (SELECT CAST(`amount` AS DOUBLE) AS v FROM `shop`.`orders` AS t) AS x WHERE v IS NOT NULL) AS q),
  (SELECT JSON_ARRAY(min(CASE WHEN place >= 0e+00 * n THEN v END), min(CASE WHEN place >= 2.5e-01 * n THEN v END), min(CASE WHEN place >= 5e-01 * n THEN v END), min(CASE WHEN place >= 7.5e-01 * n THEN v END)) FROM (SELECT v, row_number() OVER (ORDER BY v) AS place, count(*) OVER () AS n FROM (SELECT CAST(`quantity` AS DOUBLE) AS v FROM `shop`.`orders` AS t) AS x WHERE v IS NOT NULL) AS q);

-- categories
SELECT category, count(*) AS n FROM (SELECT CAST(CONVERT(`gift` USING utf8mb4) AS BINARY) AS category FROM `shop`.`orders` AS t) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT 2001;

-- comparison
SELECT 1 WHERE at >= TIMESTAMP '2026-11-24 05:00:00.000000' AND at < TIMESTAMP '2026-11-24 06:00:00.000000';

-- hours of a window
SELECT floor((TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', `at`) / 1e6) / 3600),
  count(*),
  max(`at`),
  JSON_ARRAY(count(`amount`))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000'
GROUP BY floor((TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', `at`) / 1e6) / 3600);

-- records outside the window
SELECT count(CASE WHEN CASE WHEN month(`at`) > 0 THEN `at` END IS NULL THEN 1 END), count(CASE WHEN `at` >= TIMESTAMP '2026-11-24 06:00:00.000000' THEN 1 END), count(`at`), max(CASE WHEN CASE WHEN month(`at`) > 0 THEN `at` END IS NULL THEN CAST(CONVERT(`at` USING utf8mb4) AS BINARY) END)
FROM `shop`.`orders` AS t WHERE CASE WHEN month(`at`) > 0 THEN `at` END IS NULL OR `at` >= TIMESTAMP '2026-11-24 06:00:00.000000';

-- duplicates of many rows
SELECT sum(n - 1) FROM (SELECT count(*) AS n FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000' AND `quantity` IS NOT NULL AND `provider` IS NOT NULL AND crc32(concat_ws('|', `quantity`, `provider`)) % 16 = 0 GROUP BY `quantity`, `provider` HAVING count(*) > 1) AS k;

-- checks
SELECT JSON_ARRAY(count(CASE WHEN `provider` NOT IN ('visa', 'O''Brien') THEN 1 END), count(CASE WHEN (`quantity` < 0 OR `quantity` > 10) THEN 1 END), count(CASE WHEN NOT (CONVERT(`provider` USING utf8mb4) COLLATE utf8mb4_bin REGEXP '^\\w+$') THEN 1 END), count(CASE WHEN (`born` < TIMESTAMP '2026-11-24 00:00:00.000000') THEN 1 END), count(CASE WHEN `amount` IS NULL THEN 1 END), count(CASE WHEN NOT (amount >= 0
) THEN 1 END))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- checks
SELECT count(CASE WHEN `provider` NOT IN ('visa', 'O''Brien') THEN 1 END)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- checks
SELECT count(CASE WHEN (`quantity` < 0 OR `quantity` > 10) THEN 1 END)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- checks
SELECT count(CASE WHEN NOT (CONVERT(`provider` USING utf8mb4) COLLATE utf8mb4_bin REGEXP '^\\w+$') THEN 1 END)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- checks
SELECT count(CASE WHEN (`born` < TIMESTAMP '2026-11-24 00:00:00.000000') THEN 1 END)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- checks
SELECT count(CASE WHEN `amount` IS NULL THEN 1 END)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- checks
SELECT count(CASE WHEN NOT (amount >= 0
) THEN 1 END)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000';

-- classes against their labels
SELECT coalesce(CAST(CONVERT(`provider` USING utf8mb4) AS BINARY), ''),
  coalesce(CAST(CONVERT(`quantity` USING utf8mb4) AS BINARY), ''),
  coalesce(CAST(CONVERT(`born` USING utf8mb4) AS BINARY), ''),
  coalesce(CAST(CONVERT(`provider` USING utf8mb4) AS BINARY), 'null'),
  coalesce(CAST(CONVERT(`gift` USING utf8mb4) AS BINARY), 'null'),
  count(*),
  count(`born`),
  sum(TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', `born`) / 1e6 - TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', `at`) / 1e6),
  0,
  0
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000' AND `gift` IS NOT NULL
GROUP BY coalesce(CAST(CONVERT(`provider` USING utf8mb4) AS BINARY), ''), coalesce(CAST(CONVERT(`quantity` USING utf8mb4) AS BINARY), ''), coalesce(CAST(CONVERT(`born` USING utf8mb4) AS BINARY), ''), coalesce(CAST(CONVERT(`provider` USING utf8mb4) AS BINARY), 'null'), coalesce(CAST(CONVERT(`gift` USING utf8mb4) AS BINARY), 'null')
LIMIT 1001;

-- quantities against their labels
SELECT '',
  '',
  '',
  '',
  '',
  count(*),
  0,
  0,
  sum(abs(CAST(`amount` AS DOUBLE) - CAST(`quantity` AS DOUBLE))),
  sum((CAST(`amount` AS DOUBLE) - CAST(`quantity` AS DOUBLE)) * (CAST(`amount` AS DOUBLE) - CAST(`quantity` AS DOUBLE)))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, CASE WHEN month(`seen`) > 0 THEN `seen` END AS `seen`, `at`, CASE WHEN month(`born`) > 0 THEN `born` END AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `amount` IS NOT NULL AND `quantity` IS NOT NULL
LIMIT 1001;
