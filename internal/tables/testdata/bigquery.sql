-- schema
SELECT * FROM `shop`.`orders` AS t LIMIT 0;

-- profile of a window
SELECT count(*),
  max(`at`),
  [count(`amount`), COUNTIF(IS_NAN(CAST(`amount` AS FLOAT64))), COUNTIF(CAST(`amount` AS FLOAT64) = CAST('inf' AS FLOAT64)), COUNTIF(CAST(`amount` AS FLOAT64) = CAST('-inf' AS FLOAT64)), COUNTIF(CAST(`amount` AS FLOAT64) <= -5e-324), COUNTIF(CAST(`amount` AS FLOAT64) <= 0e+00), COUNTIF(CAST(`amount` AS FLOAT64) <= 1.25e+01)],
  [count(`quantity`), COUNTIF(CAST(`quantity` AS FLOAT64) <= 1e+01), COUNTIF(CAST(`quantity` AS FLOAT64) <= 1e+06)],
  [count(`provider`), COUNTIF(`provider` = 'visa'), COUNTIF(`provider` = 'O\'Brien'), COUNTIF(`provider` NOT IN ('visa', 'O\'Brien', 'back\\slash', ''))],
  [count(`gift`), COUNTIF(CAST(`gift` AS STRING) = 'true'), COUNTIF(CAST(`gift` AS STRING) = 'false')],
  [count(`seen`), COUNTIF(`seen` > TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 0 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 60 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 300 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 900 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 3600 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 21600 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 86400 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 604800 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 2592000 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 31536000 SECOND))],
  [count(`born`), COUNTIF(`born` > TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 0 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 60 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 300 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 900 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 3600 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 21600 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 86400 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 604800 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 2592000 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 31536000 SECOND))],
  [count(`notes`)]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- profile of a table without a timestamp column
SELECT count(*),
  [count(`born`), COUNTIF(`born` > TIMESTAMP '2026-11-24 06:00:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-11-24 05:59:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-11-24 05:55:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-11-24 05:45:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-11-24 00:00:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-11-23 06:00:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-11-17 06:00:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2026-10-25 06:00:00.000000+00:00'), COUNTIF(`born` >= TIMESTAMP '2025-11-24 06:00:00.000000+00:00')]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM (
SELECT * FROM shop.orders
) AS t) AS t;

-- latest record
SELECT count(*),
  max(`at`)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- statistics that choose bins
SELECT count(*),
  [count(`amount`), APPROX_COUNT_DISTINCT(`amount`)],
  [count(`quantity`), APPROX_COUNT_DISTINCT(`quantity`)],
  [count(`provider`), APPROX_COUNT_DISTINCT(`provider`)],
  [count(`gift`), APPROX_COUNT_DISTINCT(`gift`)]
FROM `shop`.`orders` AS t;

-- quantiles
SELECT (SELECT TO_JSON_STRING([q[OFFSET(0)], q[OFFSET(250)], q[OFFSET(500)], q[OFFSET(750)]]) FROM (SELECT APPROX_QUANTILES(IF(ABS(CAST(`amount` AS FLOAT64)) <= 1.7976931348623157e+308, CAST(`amount` AS FLOAT64), NULL), 1000) AS q FROM `shop`.`orders` AS t) AS x),
  (SELECT TO_JSON_STRING([q[OFFSET(0)], q[OFFSET(250)], q[OFFSET(500)], q[OFFSET(750)]]) FROM (SELECT APPROX_QUANTILES(IF(ABS(CAST(`quantity` AS FLOAT64)) <= 1.7976931348623157e+308, CAST(`quantity` AS FLOAT64), NULL), 1000) AS q FROM `shop`.`orders` AS t) AS x);

-- categories
SELECT category, count(*) AS n FROM (SELECT CAST(`gift` AS STRING) AS category FROM `shop`.`orders` AS t) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT 2001;

-- comparison
SELECT 1 WHERE at >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND at < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- hours of a window
SELECT CAST(floor((UNIX_MICROS(TIMESTAMP(`at`)) / 1e6) / 3600) AS INT64),
  count(*),
  max(`at`),
  [count(`amount`)]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00'
GROUP BY CAST(floor((UNIX_MICROS(TIMESTAMP(`at`)) / 1e6) / 3600) AS INT64);

-- records outside the window
SELECT COUNTIF(`at` IS NULL), COUNTIF(`at` >= TIMESTAMP '2026-11-24 06:00:00.000000+00:00'), count(`at`), max(CASE WHEN `at` IS NULL THEN CAST(`at` AS STRING) END)
FROM `shop`.`orders` AS t WHERE `at` IS NULL OR `at` >= TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- duplicates of many rows
SELECT sum(n - 1) FROM (SELECT count(*) AS n FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00' AND `quantity` IS NOT NULL AND `provider` IS NOT NULL AND MOD(FARM_FINGERPRINT(CAST(`quantity` AS STRING) || '|' || CAST(`provider` AS STRING)), 16) = 0 GROUP BY `quantity`, `provider` HAVING count(*) > 1) AS k;

-- checks
SELECT [COUNTIF(`provider` NOT IN ('visa', 'O\'Brien')), COUNTIF((`quantity` < 0 OR `quantity` > 10)), COUNTIF(NOT REGEXP_CONTAINS(`provider`, '^\\w+$')), COUNTIF((`born` < TIMESTAMP '2026-11-24 00:00:00.000000+00:00')), COUNTIF(`amount` IS NULL), COUNTIF(NOT (amount >= 0
))]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT COUNTIF(`provider` NOT IN ('visa', 'O\'Brien'))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT COUNTIF((`quantity` < 0 OR `quantity` > 10))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT COUNTIF(NOT REGEXP_CONTAINS(`provider`, '^\\w+$'))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT COUNTIF((`born` < TIMESTAMP '2026-11-24 00:00:00.000000+00:00'))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT COUNTIF(`amount` IS NULL)
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT COUNTIF(NOT (amount >= 0
))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- classes against their labels
SELECT coalesce(CAST(`provider` AS STRING), ''),
  coalesce(CAST(`quantity` AS STRING), ''),
  coalesce(CAST(`born` AS STRING), ''),
  coalesce(CAST(`provider` AS STRING), 'null'),
  coalesce(CAST(`gift` AS STRING), 'null'),
  count(*),
  count(`born`),
  sum(UNIX_MICROS(TIMESTAMP(`born`)) / 1e6 - UNIX_MICROS(TIMESTAMP(`at`)) / 1e6),
  0,
  0
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00' AND `gift` IS NOT NULL
GROUP BY coalesce(CAST(`provider` AS STRING), ''), coalesce(CAST(`quantity` AS STRING), ''), coalesce(CAST(`born` AS STRING), ''), coalesce(CAST(`provider` AS STRING), 'null'), coalesce(CAST(`gift` AS STRING), 'null')
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
  sum(abs(CAST(`amount` AS FLOAT64) - CAST(`quantity` AS FLOAT64))),
  sum((CAST(`amount` AS FLOAT64) - CAST(`quantity` AS FLOAT64)) * (CAST(`amount` AS FLOAT64) - CAST(`quantity` AS FLOAT64)))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE CAST(`amount` AS FLOAT64) <> CAST('-inf' AS FLOAT64) AND CAST(`amount` AS FLOAT64) <> CAST('inf' AS FLOAT64) AND NOT (IS_NAN(CAST(`amount` AS FLOAT64))) AND `amount` IS NOT NULL AND `quantity` IS NOT NULL
LIMIT 1001;
