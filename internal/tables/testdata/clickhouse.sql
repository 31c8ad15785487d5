-- schema
DESCRIBE TABLE (SELECT * FROM `shop`.`orders` AS t);

-- profile of a window
SELECT count(*),
  max(`at`),
  [count(`amount`), countIf(isNaN(toFloat64(`amount`))), countIf(toFloat64(`amount`) = inf), countIf(toFloat64(`amount`) = -inf), countIf(toFloat64(`amount`) <= -5e-324), countIf(toFloat64(`amount`) <= 0e+00), countIf(toFloat64(`amount`) <= 1.25e+01)],
  [count(`quantity`), countIf(toFloat64(`quantity`) <= 1e+01), countIf(toFloat64(`quantity`) <= 1e+06)],
  [count(`provider`), countIf(`provider` = 'visa'), countIf(`provider` = 'O\'Brien'), countIf(`provider` NOT IN ('visa', 'O\'Brien', 'back\\slash', ''))],
  [count(`gift`), countIf(toString(`gift`) = 'true'), countIf(toString(`gift`) = 'false')],
  [count(`born`), countIf(`born` > `at` - toIntervalSecond(0)), countIf(`born` >= `at` - toIntervalSecond(60)), countIf(`born` >= `at` - toIntervalSecond(300)), countIf(`born` >= `at` - toIntervalSecond(900)), countIf(`born` >= `at` - toIntervalSecond(3600)), countIf(`born` >= `at` - toIntervalSecond(21600)), countIf(`born` >= `at` - toIntervalSecond(86400)), countIf(`born` >= `at` - toIntervalSecond(604800)), countIf(`born` >= `at` - toIntervalSecond(2592000)), countIf(`born` >= `at` - toIntervalSecond(31536000))],
  [count(`notes`)]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- profile of a table without a timestamp column
SELECT count(*),
  [count(`born`), countIf(`born` > toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-11-24 05:59:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-11-24 05:55:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-11-24 05:45:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-11-24 00:00:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-11-23 06:00:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-11-17 06:00:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2026-10-25 06:00:00.000000', 6, 'UTC')), countIf(`born` >= toDateTime64('2025-11-24 06:00:00.000000', 6, 'UTC'))]
FROM (
SELECT * FROM shop.orders
) AS t;

-- latest record
SELECT count(*),
  max(`at`)
FROM `shop`.`orders` AS t WHERE `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- statistics that choose bins
SELECT count(*),
  [count(`amount`), uniq(`amount`)],
  [count(`quantity`), uniq(`quantity`)],
  [count(`provider`), uniq(`provider`)],
  [count(`gift`), uniq(`gift`)]
FROM `shop`.`orders` AS t;

-- quantiles
SELECT quantilesTDigestIf(0e+00, 2.5e-01, 5e-01, 7.5e-01)(toFloat64(`amount`), isFinite(toFloat64(`amount`))),
  quantilesTDigestIf(0e+00, 2.5e-01, 5e-01, 7.5e-01)(toFloat64(`quantity`), isFinite(toFloat64(`quantity`)))
FROM `shop`.`orders` AS t;

-- categories
SELECT category, count(*) AS n FROM (SELECT toString(`gift`) AS category FROM `shop`.`orders` AS t) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT 2001;

-- comparison
SELECT 1 WHERE at >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND at < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- hours of a window
SELECT floor((toUnixTimestamp64Micro(toDateTime64(`at`, 6, 'UTC')) / 1e6) / 3600),
  count(*),
  max(`at`),
  [count(`amount`)]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC')
GROUP BY floor((toUnixTimestamp64Micro(toDateTime64(`at`, 6, 'UTC')) / 1e6) / 3600);

-- records outside the window
SELECT countIf(`at` IS NULL), countIf(`at` >= toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC')), count(`at`), max(CASE WHEN `at` IS NULL THEN toString(`at`) END)
FROM `shop`.`orders` AS t WHERE `at` IS NULL OR `at` >= toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- duplicates of many rows
SELECT sum(n - 1) FROM (SELECT count(*) AS n FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC') AND `quantity` IS NOT NULL AND `provider` IS NOT NULL AND cityHash64(`quantity`, `provider`) % 16 = 0 GROUP BY `quantity`, `provider` HAVING count(*) > 1) AS k;

-- checks
SELECT [countIf(`provider` NOT IN ('visa', 'O\'Brien')), countIf((`quantity` < 0 OR `quantity` > 10)), countIf(NOT match(`provider`, '^\\w+$')), countIf((`born` < toDateTime64('2026-11-24 00:00:00.000000', 6, 'UTC'))), countIf(`amount` IS NULL), countIf(NOT (amount >= 0
))]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT countIf(`provider` NOT IN ('visa', 'O\'Brien'))
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT countIf((`quantity` < 0 OR `quantity` > 10))
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT countIf(NOT match(`provider`, '^\\w+$'))
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT countIf((`born` < toDateTime64('2026-11-24 00:00:00.000000', 6, 'UTC')))
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT countIf(`amount` IS NULL)
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT countIf(NOT (amount >= 0
))
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- classes against their labels
SELECT coalesce(toString(`provider`), ''),
  coalesce(toString(`quantity`), ''),
  coalesce(toString(`born`), ''),
  coalesce(toString(`provider`), 'null'),
  coalesce(toString(`gift`), 'null'),
  count(*),
  count(`born`),
  sum(toUnixTimestamp64Micro(toDateTime64(`born`, 6, 'UTC')) / 1e6 - toUnixTimestamp64Micro(toDateTime64(`at`, 6, 'UTC')) / 1e6),
  0,
  0
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC') AND `gift` IS NOT NULL
GROUP BY coalesce(toString(`provider`), ''), coalesce(toString(`quantity`), ''), coalesce(toString(`born`), ''), coalesce(toString(`provider`), 'null'), coalesce(toString(`gift`), 'null')
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
  sum(abs(toFloat64(`amount`) - toFloat64(`quantity`))),
  sum((toFloat64(`amount`) - toFloat64(`quantity`)) * (toFloat64(`amount`) - toFloat64(`quantity`)))
FROM `shop`.`orders` AS t WHERE NOT (isNaN(toFloat64(`amount`))) AND `amount` IS NOT NULL AND `quantity` IS NOT NULL AND toFloat64(`amount`) <> -inf AND toFloat64(`amount`) <> inf
LIMIT 1001;
