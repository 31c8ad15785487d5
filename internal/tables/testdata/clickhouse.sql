-- schema
DESCRIBE TABLE (SELECT * FROM `shop`.`orders` AS t);

-- profile of a window
SELECT count(*),
  max(`at`),
  [count(`amount`), countIf(isNaN(toFloat64(`amount`))), countIf(toFloat64(`amount`) = inf), countIf(toFloat64(`amount`) = -inf), countIf(toFloat64(`amount`) <= -5e-324), countIf(toFloat64(`amount`) <= 0e+00), countIf(toFloat64(`amount`) <= 1.25e+01)],
  [count(`quantity`), countIf(toFloat64(`quantity`) <= 1e+01), countIf(toFloat64(`quantity`) <= 1e+06)],
  [count(`provider`), countIf(`provider` IN ('visa')), countIf(`provider` IN ('O\'Brien')), countIf(`provider` NOT IN ('visa', 'O\'Brien', 'back\\slash', ''))],
  [count(`gift`), countIf(toString(`gift`) IN ('true', 'True', 'TRUE', 't', '1', '1.0', '1.00')), countIf(toString(`gift`) IN ('false', 'False', 'FALSE', 'f', '0', '0.0', '0.00'))],
  [count(`born`), countIf(`born` > `at` - toIntervalSecond(0)), countIf(`born` >= `at` - toIntervalSecond(60)), countIf(`born` >= `at` - toIntervalSecond(300)), countIf(`born` >= `at` - toIntervalSecond(900)), countIf(`born` >= `at` - toIntervalSecond(3600)), countIf(`born` >= `at` - toIntervalSecond(21600)), countIf(`born` >= `at` - toIntervalSecond(86400)), countIf(`born` >= `at` - toIntervalSecond(604800)), countIf(`born` >= `at` - toIntervalSecond(2592000)), countIf(`born` >= `at` - toIntervalSecond(31536000))],
  [toFloat64(countIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(minIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(maxIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(sumIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(stddevPopIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(countIf(toFloat64(`amount`) = 0))],
  [toFloat64(count(toFloat64(`quantity`))), toFloat64(min(toFloat64(`quantity`))), toFloat64(max(toFloat64(`quantity`))), toFloat64(sum(toFloat64(`quantity`))), toFloat64(stddevPop(toFloat64(`quantity`))), toFloat64(countIf(toFloat64(`quantity`) = 0))],
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
  [count(`gift`), uniq(`gift`)],
  [toFloat64(countIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(minIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(maxIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(sumIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(stddevPopIf(toFloat64(`amount`), abs(toFloat64(`amount`)) < 1e140)), toFloat64(countIf(toFloat64(`amount`) = 0))],
  [toFloat64(count(toFloat64(`quantity`))), toFloat64(min(toFloat64(`quantity`))), toFloat64(max(toFloat64(`quantity`))), toFloat64(sum(toFloat64(`quantity`))), toFloat64(stddevPop(toFloat64(`quantity`))), toFloat64(countIf(toFloat64(`quantity`) = 0))]
FROM `shop`.`orders` AS t;

-- quantiles
SELECT quantilesTDigestIf(2.5e-03, 7.5e-03, 1.25e-02, 1.75e-02, 2.25e-02, 2.75e-02, 3.25e-02, 3.75e-02, 4.25e-02, 4.75e-02, 5.25e-02, 5.75e-02, 6.25e-02, 6.75e-02, 7.25e-02, 7.75e-02, 8.25e-02, 8.75e-02, 9.25e-02, 9.75e-02, 1.025e-01, 1.075e-01, 1.125e-01, 1.175e-01, 1.225e-01, 1.275e-01, 1.325e-01, 1.375e-01, 1.425e-01, 1.475e-01, 1.525e-01, 1.575e-01, 1.625e-01, 1.675e-01, 1.725e-01, 1.775e-01, 1.825e-01, 1.875e-01, 1.925e-01, 1.975e-01, 2.025e-01, 2.075e-01, 2.125e-01, 2.175e-01, 2.225e-01, 2.275e-01, 2.325e-01, 2.375e-01, 2.425e-01, 2.475e-01, 2.525e-01, 2.575e-01, 2.625e-01, 2.675e-01, 2.725e-01, 2.775e-01, 2.825e-01, 2.875e-01, 2.925e-01, 2.975e-01, 3.025e-01, 3.075e-01, 3.125e-01, 3.175e-01, 3.225e-01, 3.275e-01, 3.325e-01, 3.375e-01, 3.425e-01, 3.475e-01, 3.525e-01, 3.575e-01, 3.625e-01, 3.675e-01, 3.725e-01, 3.775e-01, 3.825e-01, 3.875e-01, 3.925e-01, 3.975e-01, 4.025e-01, 4.075e-01, 4.125e-01, 4.175e-01, 4.225e-01, 4.275e-01, 4.325e-01, 4.375e-01, 4.425e-01, 4.475e-01, 4.525e-01, 4.575e-01, 4.625e-01, 4.675e-01, 4.725e-01, 4.775e-01, 4.825e-01, 4.875e-01, 4.925e-01, 4.975e-01, 5.025e-01, 5.075e-01, 5.125e-01, 5.175e-01, 5.225e-01, 5.275e-01, 5.325e-01, 5.375e-01, 5.425e-01, 5.475e-01, 5.525e-01, 5.575e-01, 5.625e-01, 5.675e-01, 5.725e-01, 5.775e-01, 5.825e-01, 5.875e-01, 5.925e-01, 5.975e-01, 6.025e-01, 6.075e-01, 6.125e-01, 6.175e-01, 6.225e-01, 6.275e-01, 6.325e-01, 6.375e-01, 6.425e-01, 6.475e-01, 6.525e-01, 6.575e-01, 6.625e-01, 6.675e-01, 6.725e-01, 6.775e-01, 6.825e-01, 6.875e-01, 6.925e-01, 6.975e-01, 7.025e-01, 7.075e-01, 7.125e-01, 7.175e-01, 7.225e-01, 7.275e-01, 7.325e-01, 7.375e-01, 7.425e-01, 7.475e-01, 7.525e-01, 7.575e-01, 7.625e-01, 7.675e-01, 7.725e-01, 7.775e-01, 7.825e-01, 7.875e-01, 7.925e-01, 7.975e-01, 8.025e-01, 8.075e-01, 8.125e-01, 8.175e-01, 8.225e-01, 8.275e-01, 8.325e-01, 8.375e-01, 8.425e-01, 8.475e-01, 8.525e-01, 8.575e-01, 8.625e-01, 8.675e-01, 8.725e-01, 8.775e-01, 8.825e-01, 8.875e-01, 8.925e-01, 8.975e-01, 9.025e-01, 9.075e-01, 9.125e-01, 9.175e-01, 9.225e-01, 9.275e-01, 9.325e-01, 9.375e-01, 9.425e-01, 9.475e-01, 9.525e-01, 9.575e-01, 9.625e-01, 9.675e-01, 9.725e-01, 9.775e-01, 9.825e-01, 9.875e-01, 9.925e-01, 9.975e-01)(toFloat64(`amount`), isFinite(toFloat64(`amount`))),
  quantilesTDigestIf(2.5e-03, 7.5e-03, 1.25e-02, 1.75e-02, 2.25e-02, 2.75e-02, 3.25e-02, 3.75e-02, 4.25e-02, 4.75e-02, 5.25e-02, 5.75e-02, 6.25e-02, 6.75e-02, 7.25e-02, 7.75e-02, 8.25e-02, 8.75e-02, 9.25e-02, 9.75e-02, 1.025e-01, 1.075e-01, 1.125e-01, 1.175e-01, 1.225e-01, 1.275e-01, 1.325e-01, 1.375e-01, 1.425e-01, 1.475e-01, 1.525e-01, 1.575e-01, 1.625e-01, 1.675e-01, 1.725e-01, 1.775e-01, 1.825e-01, 1.875e-01, 1.925e-01, 1.975e-01, 2.025e-01, 2.075e-01, 2.125e-01, 2.175e-01, 2.225e-01, 2.275e-01, 2.325e-01, 2.375e-01, 2.425e-01, 2.475e-01, 2.525e-01, 2.575e-01, 2.625e-01, 2.675e-01, 2.725e-01, 2.775e-01, 2.825e-01, 2.875e-01, 2.925e-01, 2.975e-01, 3.025e-01, 3.075e-01, 3.125e-01, 3.175e-01, 3.225e-01, 3.275e-01, 3.325e-01, 3.375e-01, 3.425e-01, 3.475e-01, 3.525e-01, 3.575e-01, 3.625e-01, 3.675e-01, 3.725e-01, 3.775e-01, 3.825e-01, 3.875e-01, 3.925e-01, 3.975e-01, 4.025e-01, 4.075e-01, 4.125e-01, 4.175e-01, 4.225e-01, 4.275e-01, 4.325e-01, 4.375e-01, 4.425e-01, 4.475e-01, 4.525e-01, 4.575e-01, 4.625e-01, 4.675e-01, 4.725e-01, 4.775e-01, 4.825e-01, 4.875e-01, 4.925e-01, 4.975e-01, 5.025e-01, 5.075e-01, 5.125e-01, 5.175e-01, 5.225e-01, 5.275e-01, 5.325e-01, 5.375e-01, 5.425e-01, 5.475e-01, 5.525e-01, 5.575e-01, 5.625e-01, 5.675e-01, 5.725e-01, 5.775e-01, 5.825e-01, 5.875e-01, 5.925e-01, 5.975e-01, 6.025e-01, 6.075e-01, 6.125e-01, 6.175e-01, 6.225e-01, 6.275e-01, 6.325e-01, 6.375e-01, 6.425e-01, 6.475e-01, 6.525e-01, 6.575e-01, 6.625e-01, 6.675e-01, 6.725e-01, 6.775e-01, 6.825e-01, 6.875e-01, 6.925e-01, 6.975e-01, 7.025e-01, 7.075e-01, 7.125e-01, 7.175e-01, 7.225e-01, 7.275e-01, 7.325e-01, 7.375e-01, 7.425e-01, 7.475e-01, 7.525e-01, 7.575e-01, 7.625e-01, 7.675e-01, 7.725e-01, 7.775e-01, 7.825e-01, 7.875e-01, 7.925e-01, 7.975e-01, 8.025e-01, 8.075e-01, 8.125e-01, 8.175e-01, 8.225e-01, 8.275e-01, 8.325e-01, 8.375e-01, 8.425e-01, 8.475e-01, 8.525e-01, 8.575e-01, 8.625e-01, 8.675e-01, 8.725e-01, 8.775e-01, 8.825e-01, 8.875e-01, 8.925e-01, 8.975e-01, 9.025e-01, 9.075e-01, 9.125e-01, 9.175e-01, 9.225e-01, 9.275e-01, 9.325e-01, 9.375e-01, 9.425e-01, 9.475e-01, 9.525e-01, 9.575e-01, 9.625e-01, 9.675e-01, 9.725e-01, 9.775e-01, 9.825e-01, 9.875e-01, 9.925e-01, 9.975e-01)(toFloat64(`quantity`), isFinite(toFloat64(`quantity`)))
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

-- parts of a window
SELECT ((CASE WHEN toString(`provider`) IN ('visa') THEN 0 WHEN toString(`provider`) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN toString(`quantity`) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END) * 3 + CASE WHEN `at` >= toDateTime64('2026-11-24 05:59:00.000000', 6, 'UTC') THEN 2 WHEN `at` >= toDateTime64('2026-11-24 05:58:00.000000', 6, 'UTC') THEN 1 ELSE 0 END,
  count(*),
  max(`at`),
  [count(`amount`)]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC')
GROUP BY ((CASE WHEN toString(`provider`) IN ('visa') THEN 0 WHEN toString(`provider`) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN toString(`quantity`) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END) * 3 + CASE WHEN `at` >= toDateTime64('2026-11-24 05:59:00.000000', 6, 'UTC') THEN 2 WHEN `at` >= toDateTime64('2026-11-24 05:58:00.000000', 6, 'UTC') THEN 1 ELSE 0 END;

-- the rest of a split
SELECT count(*),
  max(`at`)
FROM (SELECT * FROM `shop`.`orders` AS t WHERE (`provider` IS NULL OR toString(`provider`) NOT IN ('visa', 'O\'Brien')) AND (`quantity` IS NULL OR toString(`quantity`) NOT IN ('1', '1.0', '1.00'))) AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- duplicates of parts
SELECT part,
  sum(n - 1)
FROM (SELECT (CASE WHEN toString(`provider`) IN ('visa') THEN 0 WHEN toString(`provider`) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN toString(`quantity`) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END AS part, count(*) AS n FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC') AND `born` IS NOT NULL GROUP BY (CASE WHEN toString(`provider`) IN ('visa') THEN 0 WHEN toString(`provider`) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN toString(`quantity`) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END, `born` HAVING count(*) > 1) AS k
GROUP BY part;

-- sample of two windows
SELECT CASE WHEN `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC') THEN 0 WHEN `at` >= toDateTime64('2026-11-17 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-17 06:00:00.000000', 6, 'UTC') THEN 1 ELSE 0 END,
  toInt64(floor((toUnixTimestamp64Micro(toDateTime64(`at`, 6, 'UTC')) / 1e6) * 1000)),
  CASE WHEN `amount` IS NULL THEN 0 WHEN isNaN(toFloat64(`amount`)) THEN 1 WHEN toFloat64(`amount`) = inf OR toFloat64(`amount`) = -inf THEN 2 WHEN toFloat64(`amount`) <= -5e-324 THEN 3 WHEN toFloat64(`amount`) <= 0e+00 THEN 4 WHEN toFloat64(`amount`) <= 1.25e+01 THEN 5 ELSE 6 END,
  CASE WHEN `quantity` IS NULL THEN 0 WHEN toFloat64(`quantity`) <= 1e+01 THEN 1 WHEN toFloat64(`quantity`) <= 1e+06 THEN 2 ELSE 3 END,
  `provider`,
  toString(`gift`),
  CASE WHEN `at` IS NULL THEN 0 ELSE 1 END,
  CASE WHEN `born` IS NULL THEN 0 WHEN `born` > `at` - toIntervalSecond(0) THEN 1 WHEN `born` >= `at` - toIntervalSecond(60) THEN 2 WHEN `born` >= `at` - toIntervalSecond(300) THEN 3 WHEN `born` >= `at` - toIntervalSecond(900) THEN 4 WHEN `born` >= `at` - toIntervalSecond(3600) THEN 5 WHEN `born` >= `at` - toIntervalSecond(21600) THEN 6 WHEN `born` >= `at` - toIntervalSecond(86400) THEN 7 WHEN `born` >= `at` - toIntervalSecond(604800) THEN 8 WHEN `born` >= `at` - toIntervalSecond(2592000) THEN 9 WHEN `born` >= `at` - toIntervalSecond(31536000) THEN 10 ELSE 11 END,
  CASE WHEN `notes` IS NULL THEN 0 ELSE 1 END
FROM `shop`.`orders` AS t
WHERE ((`at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC')) OR (`at` >= toDateTime64('2026-11-17 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-17 06:00:00.000000', 6, 'UTC'))) AND rand() / 4294967296 < 2.5e-01
LIMIT 1000;

-- records outside the window
SELECT countIf(`at` IS NULL),
  countIf(`at` >= toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC')),
  count(`at`),
  max(CASE WHEN `at` IS NULL THEN toString(`at`) END)
FROM `shop`.`orders` AS t WHERE `at` IS NULL OR `at` >= toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- duplicates of many rows
SELECT sum(n - 1)
FROM (SELECT count(*) AS n FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC') AND `quantity` IS NOT NULL AND `provider` IS NOT NULL AND cityHash64(`quantity`, `provider`) % 16 = 0 GROUP BY `quantity`, `provider` HAVING count(*) > 1) AS k;

-- checks
SELECT [countIf(`provider` NOT IN ('visa', 'O\'Brien')), countIf((`quantity` < 0 OR `quantity` > 10)), countIf(NOT match(`provider`, '^\\w+$')), countIf((`born` < toDateTime64('2026-11-24 00:00:00.000000', 6, 'UTC'))), countIf(`amount` IS NULL), countIf(NOT (amount >= 0
))]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT [countIf(`provider` NOT IN ('visa', 'O\'Brien'))]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT [countIf((`quantity` < 0 OR `quantity` > 10))]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT [countIf(NOT match(`provider`, '^\\w+$'))]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT [countIf((`born` < toDateTime64('2026-11-24 00:00:00.000000', 6, 'UTC')))]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT [countIf(`amount` IS NULL)]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- checks
SELECT [countIf(NOT (amount >= 0
))]
FROM `shop`.`orders` AS t WHERE `at` >= toDateTime64('2026-11-24 05:00:00.000000', 6, 'UTC') AND `at` < toDateTime64('2026-11-24 06:00:00.000000', 6, 'UTC');

-- classes against their labels
SELECT coalesce(toString(`provider`), ''),
  coalesce(toString(`quantity`), ''),
  coalesce(toString(`born`), ''),
  coalesce(toString(`provider`), 'null'),
  coalesce(toString(`gift`), 'null'),
  '',
  0,
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
  '',
  0,
  count(*),
  0,
  0,
  sum(abs(toFloat64(`amount`) - toFloat64(`quantity`))),
  sum((toFloat64(`amount`) - toFloat64(`quantity`)) * (toFloat64(`amount`) - toFloat64(`quantity`)))
FROM `shop`.`orders` AS t WHERE NOT (isNaN(toFloat64(`amount`))) AND `amount` IS NOT NULL AND `quantity` IS NOT NULL AND toFloat64(`amount`) <> -inf AND toFloat64(`amount`) <> inf
LIMIT 1001;
