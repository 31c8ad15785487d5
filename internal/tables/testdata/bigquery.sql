-- schema
SELECT * FROM `shop`.`orders` AS t LIMIT 0;

-- profile of a window
SELECT count(*),
  max(`at`),
  [count(`amount`), COUNTIF(IS_NAN(CAST(`amount` AS FLOAT64))), COUNTIF(CAST(`amount` AS FLOAT64) = CAST('inf' AS FLOAT64)), COUNTIF(CAST(`amount` AS FLOAT64) = CAST('-inf' AS FLOAT64)), COUNTIF(CAST(`amount` AS FLOAT64) <= -5e-324), COUNTIF(CAST(`amount` AS FLOAT64) <= 0e+00), COUNTIF(CAST(`amount` AS FLOAT64) <= 1.25e+01)],
  [count(`quantity`), COUNTIF(CAST(`quantity` AS FLOAT64) <= 1e+01), COUNTIF(CAST(`quantity` AS FLOAT64) <= 1e+06)],
  [count(`provider`), COUNTIF(`provider` IN ('visa')), COUNTIF(`provider` IN ('O\'Brien')), COUNTIF(`provider` NOT IN ('visa', 'O\'Brien', 'back\\slash', ''))],
  [count(`gift`), COUNTIF(CAST(`gift` AS STRING) IN ('true', 'True', 'TRUE', 't', '1', '1.0', '1.00')), COUNTIF(CAST(`gift` AS STRING) IN ('false', 'False', 'FALSE', 'f', '0', '0.0', '0.00'))],
  [count(`seen`), COUNTIF(`seen` > TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 0 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 60 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 300 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 900 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 3600 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 21600 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 86400 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 604800 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 2592000 SECOND)), COUNTIF(`seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 31536000 SECOND))],
  [count(`born`), COUNTIF(`born` > TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 0 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 60 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 300 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 900 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 3600 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 21600 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 86400 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 604800 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 2592000 SECOND)), COUNTIF(`born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 31536000 SECOND))],
  TO_JSON_STRING([CAST(count(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)) AS FLOAT64), min(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), max(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), sum(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), stddev_pop(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), CAST(COUNTIF(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL) = 0) AS FLOAT64)]),
  TO_JSON_STRING([CAST(count(CAST(`quantity` AS FLOAT64)) AS FLOAT64), min(CAST(`quantity` AS FLOAT64)), max(CAST(`quantity` AS FLOAT64)), sum(CAST(`quantity` AS FLOAT64)), stddev_pop(CAST(`quantity` AS FLOAT64)), CAST(COUNTIF(CAST(`quantity` AS FLOAT64) = 0) AS FLOAT64)]),
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
  [count(`gift`), APPROX_COUNT_DISTINCT(`gift`)],
  TO_JSON_STRING([CAST(count(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)) AS FLOAT64), min(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), max(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), sum(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), stddev_pop(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL)), CAST(COUNTIF(IF(abs(CAST(`amount` AS FLOAT64)) < 1e140, CAST(`amount` AS FLOAT64), NULL) = 0) AS FLOAT64)]),
  TO_JSON_STRING([CAST(count(CAST(`quantity` AS FLOAT64)) AS FLOAT64), min(CAST(`quantity` AS FLOAT64)), max(CAST(`quantity` AS FLOAT64)), sum(CAST(`quantity` AS FLOAT64)), stddev_pop(CAST(`quantity` AS FLOAT64)), CAST(COUNTIF(CAST(`quantity` AS FLOAT64) = 0) AS FLOAT64)])
FROM `shop`.`orders` AS t;

-- quantiles
SELECT (SELECT TO_JSON_STRING([q[OFFSET(3)], q[OFFSET(8)], q[OFFSET(13)], q[OFFSET(18)], q[OFFSET(23)], q[OFFSET(28)], q[OFFSET(33)], q[OFFSET(38)], q[OFFSET(43)], q[OFFSET(48)], q[OFFSET(53)], q[OFFSET(58)], q[OFFSET(63)], q[OFFSET(68)], q[OFFSET(73)], q[OFFSET(78)], q[OFFSET(83)], q[OFFSET(88)], q[OFFSET(93)], q[OFFSET(98)], q[OFFSET(103)], q[OFFSET(108)], q[OFFSET(113)], q[OFFSET(118)], q[OFFSET(123)], q[OFFSET(128)], q[OFFSET(133)], q[OFFSET(138)], q[OFFSET(143)], q[OFFSET(148)], q[OFFSET(153)], q[OFFSET(158)], q[OFFSET(163)], q[OFFSET(168)], q[OFFSET(173)], q[OFFSET(178)], q[OFFSET(183)], q[OFFSET(188)], q[OFFSET(193)], q[OFFSET(198)], q[OFFSET(203)], q[OFFSET(208)], q[OFFSET(213)], q[OFFSET(218)], q[OFFSET(223)], q[OFFSET(228)], q[OFFSET(233)], q[OFFSET(238)], q[OFFSET(243)], q[OFFSET(248)], q[OFFSET(253)], q[OFFSET(258)], q[OFFSET(263)], q[OFFSET(268)], q[OFFSET(273)], q[OFFSET(278)], q[OFFSET(283)], q[OFFSET(288)], q[OFFSET(293)], q[OFFSET(298)], q[OFFSET(303)], q[OFFSET(308)], q[OFFSET(313)], q[OFFSET(318)], q[OFFSET(323)], q[OFFSET(328)], q[OFFSET(333)], q[OFFSET(338)], q[OFFSET(343)], q[OFFSET(348)], q[OFFSET(353)], q[OFFSET(358)], q[OFFSET(363)], q[OFFSET(368)], q[OFFSET(373)], q[OFFSET(378)], q[OFFSET(383)], q[OFFSET(388)], q[OFFSET(393)], q[OFFSET(398)], q[OFFSET(403)], q[OFFSET(408)], q[OFFSET(413)], q[OFFSET(418)], q[OFFSET(423)], q[OFFSET(428)], q[OFFSET(433)], q[OFFSET(438)], q[OFFSET(443)], q[OFFSET(448)], q[OFFSET(453)], q[OFFSET(458)], q[OFFSET(463)], q[OFFSET(468)], q[OFFSET(473)], q[OFFSET(478)], q[OFFSET(483)], q[OFFSET(488)], q[OFFSET(493)], q[OFFSET(498)], q[OFFSET(502)], q[OFFSET(507)], q[OFFSET(513)], q[OFFSET(518)], q[OFFSET(523)], q[OFFSET(528)], q[OFFSET(533)], q[OFFSET(538)], q[OFFSET(543)], q[OFFSET(548)], q[OFFSET(553)], q[OFFSET(558)], q[OFFSET(563)], q[OFFSET(568)], q[OFFSET(573)], q[OFFSET(578)], q[OFFSET(583)], q[OFFSET(588)], q[OFFSET(593)], q[OFFSET(598)], q[OFFSET(603)], q[OFFSET(608)], q[OFFSET(613)], q[OFFSET(618)], q[OFFSET(623)], q[OFFSET(628)], q[OFFSET(633)], q[OFFSET(638)], q[OFFSET(643)], q[OFFSET(648)], q[OFFSET(653)], q[OFFSET(658)], q[OFFSET(663)], q[OFFSET(668)], q[OFFSET(673)], q[OFFSET(678)], q[OFFSET(683)], q[OFFSET(688)], q[OFFSET(693)], q[OFFSET(698)], q[OFFSET(703)], q[OFFSET(708)], q[OFFSET(713)], q[OFFSET(718)], q[OFFSET(723)], q[OFFSET(728)], q[OFFSET(733)], q[OFFSET(738)], q[OFFSET(743)], q[OFFSET(748)], q[OFFSET(753)], q[OFFSET(758)], q[OFFSET(763)], q[OFFSET(768)], q[OFFSET(773)], q[OFFSET(778)], q[OFFSET(783)], q[OFFSET(788)], q[OFFSET(793)], q[OFFSET(798)], q[OFFSET(803)], q[OFFSET(808)], q[OFFSET(813)], q[OFFSET(818)], q[OFFSET(823)], q[OFFSET(828)], q[OFFSET(833)], q[OFFSET(838)], q[OFFSET(843)], q[OFFSET(848)], q[OFFSET(853)], q[OFFSET(858)], q[OFFSET(863)], q[OFFSET(868)], q[OFFSET(873)], q[OFFSET(878)], q[OFFSET(883)], q[OFFSET(888)], q[OFFSET(893)], q[OFFSET(898)], q[OFFSET(903)], q[OFFSET(908)], q[OFFSET(913)], q[OFFSET(918)], q[OFFSET(923)], q[OFFSET(928)], q[OFFSET(933)], q[OFFSET(938)], q[OFFSET(943)], q[OFFSET(948)], q[OFFSET(953)], q[OFFSET(958)], q[OFFSET(963)], q[OFFSET(968)], q[OFFSET(973)], q[OFFSET(978)], q[OFFSET(983)], q[OFFSET(988)], q[OFFSET(993)], q[OFFSET(998)]]) FROM (SELECT APPROX_QUANTILES(IF(ABS(CAST(`amount` AS FLOAT64)) <= 1.7976931348623157e+308, CAST(`amount` AS FLOAT64), NULL), 1000) AS q FROM `shop`.`orders` AS t) AS x),
  (SELECT TO_JSON_STRING([q[OFFSET(3)], q[OFFSET(8)], q[OFFSET(13)], q[OFFSET(18)], q[OFFSET(23)], q[OFFSET(28)], q[OFFSET(33)], q[OFFSET(38)], q[OFFSET(43)], q[OFFSET(48)], q[OFFSET(53)], q[OFFSET(58)], q[OFFSET(63)], q[OFFSET(68)], q[OFFSET(73)], q[OFFSET(78)], q[OFFSET(83)], q[OFFSET(88)], q[OFFSET(93)], q[OFFSET(98)], q[OFFSET(103)], q[OFFSET(108)], q[OFFSET(113)], q[OFFSET(118)], q[OFFSET(123)], q[OFFSET(128)], q[OFFSET(133)], q[OFFSET(138)], q[OFFSET(143)], q[OFFSET(148)], q[OFFSET(153)], q[OFFSET(158)], q[OFFSET(163)], q[OFFSET(168)], q[OFFSET(173)], q[OFFSET(178)], q[OFFSET(183)], q[OFFSET(188)], q[OFFSET(193)], q[OFFSET(198)], q[OFFSET(203)], q[OFFSET(208)], q[OFFSET(213)], q[OFFSET(218)], q[OFFSET(223)], q[OFFSET(228)], q[OFFSET(233)], q[OFFSET(238)], q[OFFSET(243)], q[OFFSET(248)], q[OFFSET(253)], q[OFFSET(258)], q[OFFSET(263)], q[OFFSET(268)], q[OFFSET(273)], q[OFFSET(278)], q[OFFSET(283)], q[OFFSET(288)], q[OFFSET(293)], q[OFFSET(298)], q[OFFSET(303)], q[OFFSET(308)], q[OFFSET(313)], q[OFFSET(318)], q[OFFSET(323)], q[OFFSET(328)], q[OFFSET(333)], q[OFFSET(338)], q[OFFSET(343)], q[OFFSET(348)], q[OFFSET(353)], q[OFFSET(358)], q[OFFSET(363)], q[OFFSET(368)], q[OFFSET(373)], q[OFFSET(378)], q[OFFSET(383)], q[OFFSET(388)], q[OFFSET(393)], q[OFFSET(398)], q[OFFSET(403)], q[OFFSET(408)], q[OFFSET(413)], q[OFFSET(418)], q[OFFSET(423)], q[OFFSET(428)], q[OFFSET(433)], q[OFFSET(438)], q[OFFSET(443)], q[OFFSET(448)], q[OFFSET(453)], q[OFFSET(458)], q[OFFSET(463)], q[OFFSET(468)], q[OFFSET(473)], q[OFFSET(478)], q[OFFSET(483)], q[OFFSET(488)], q[OFFSET(493)], q[OFFSET(498)], q[OFFSET(502)], q[OFFSET(507)], q[OFFSET(513)], q[OFFSET(518)], q[OFFSET(523)], q[OFFSET(528)], q[OFFSET(533)], q[OFFSET(538)], q[OFFSET(543)], q[OFFSET(548)], q[OFFSET(553)], q[OFFSET(558)], q[OFFSET(563)], q[OFFSET(568)], q[OFFSET(573)], q[OFFSET(578)], q[OFFSET(583)], q[OFFSET(588)], q[OFFSET(593)], q[OFFSET(598)], q[OFFSET(603)], q[OFFSET(608)], q[OFFSET(613)], q[OFFSET(618)], q[OFFSET(623)], q[OFFSET(628)], q[OFFSET(633)], q[OFFSET(638)], q[OFFSET(643)], q[OFFSET(648)], q[OFFSET(653)], q[OFFSET(658)], q[OFFSET(663)], q[OFFSET(668)], q[OFFSET(673)], q[OFFSET(678)], q[OFFSET(683)], q[OFFSET(688)], q[OFFSET(693)], q[OFFSET(698)], q[OFFSET(703)], q[OFFSET(708)], q[OFFSET(713)], q[OFFSET(718)], q[OFFSET(723)], q[OFFSET(728)], q[OFFSET(733)], q[OFFSET(738)], q[OFFSET(743)], q[OFFSET(748)], q[OFFSET(753)], q[OFFSET(758)], q[OFFSET(763)], q[OFFSET(768)], q[OFFSET(773)], q[OFFSET(778)], q[OFFSET(783)], q[OFFSET(788)], q[OFFSET(793)], q[OFFSET(798)], q[OFFSET(803)], q[OFFSET(808)], q[OFFSET(813)], q[OFFSET(818)], q[OFFSET(823)], q[OFFSET(828)], q[OFFSET(833)], q[OFFSET(838)], q[OFFSET(843)], q[OFFSET(848)], q[OFFSET(853)], q[OFFSET(858)], q[OFFSET(863)], q[OFFSET(868)], q[OFFSET(873)], q[OFFSET(878)], q[OFFSET(883)], q[OFFSET(888)], q[OFFSET(893)], q[OFFSET(898)], q[OFFSET(903)], q[OFFSET(908)], q[OFFSET(913)], q[OFFSET(918)], q[OFFSET(923)], q[OFFSET(928)], q[OFFSET(933)], q[OFFSET(938)], q[OFFSET(943)], q[OFFSET(948)], q[OFFSET(953)], q[OFFSET(958)], q[OFFSET(963)], q[OFFSET(968)], q[OFFSET(973)], q[OFFSET(978)], q[OFFSET(983)], q[OFFSET(988)], q[OFFSET(993)], q[OFFSET(998)]]) FROM (SELECT APPROX_QUANTILES(IF(ABS(CAST(`quantity` AS FLOAT64)) <= 1.7976931348623157e+308, CAST(`quantity` AS FLOAT64), NULL), 1000) AS q FROM `shop`.`orders` AS t) AS x);

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

-- parts of a window
SELECT ((CASE WHEN CAST(`provider` AS STRING) IN ('visa') THEN 0 WHEN CAST(`provider` AS STRING) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST(`quantity` AS STRING) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END) * 3 + CASE WHEN `at` >= TIMESTAMP '2026-11-24 05:59:00.000000+00:00' THEN 2 WHEN `at` >= TIMESTAMP '2026-11-24 05:58:00.000000+00:00' THEN 1 ELSE 0 END,
  count(*),
  max(`at`),
  [count(`amount`)]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00'
GROUP BY ((CASE WHEN CAST(`provider` AS STRING) IN ('visa') THEN 0 WHEN CAST(`provider` AS STRING) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST(`quantity` AS STRING) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END) * 3 + CASE WHEN `at` >= TIMESTAMP '2026-11-24 05:59:00.000000+00:00' THEN 2 WHEN `at` >= TIMESTAMP '2026-11-24 05:58:00.000000+00:00' THEN 1 ELSE 0 END;

-- the rest of a split
SELECT count(*),
  max(`at`)
FROM (SELECT * FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE (`provider` IS NULL OR CAST(`provider` AS STRING) NOT IN ('visa', 'O\'Brien')) AND (`quantity` IS NULL OR CAST(`quantity` AS STRING) NOT IN ('1', '1.0', '1.00'))) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- duplicates of parts
SELECT part,
  sum(n - 1)
FROM (SELECT (CASE WHEN CAST(`provider` AS STRING) IN ('visa') THEN 0 WHEN CAST(`provider` AS STRING) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST(`quantity` AS STRING) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END AS part, count(*) AS n FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00' AND `born` IS NOT NULL GROUP BY (CASE WHEN CAST(`provider` AS STRING) IN ('visa') THEN 0 WHEN CAST(`provider` AS STRING) IN ('O\'Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST(`quantity` AS STRING) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END, `born` HAVING count(*) > 1) AS k
GROUP BY part;

-- sample of two windows
SELECT CASE WHEN `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00' THEN 0 WHEN `at` >= TIMESTAMP '2026-11-17 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-17 06:00:00.000000+00:00' THEN 1 ELSE 0 END,
  CAST(floor((UNIX_MICROS(TIMESTAMP(`at`)) / 1e6) * 1000) AS INT64),
  CASE WHEN `amount` IS NULL THEN 0 WHEN IS_NAN(CAST(`amount` AS FLOAT64)) THEN 1 WHEN CAST(`amount` AS FLOAT64) = CAST('inf' AS FLOAT64) OR CAST(`amount` AS FLOAT64) = CAST('-inf' AS FLOAT64) THEN 2 WHEN CAST(`amount` AS FLOAT64) <= -5e-324 THEN 3 WHEN CAST(`amount` AS FLOAT64) <= 0e+00 THEN 4 WHEN CAST(`amount` AS FLOAT64) <= 1.25e+01 THEN 5 ELSE 6 END,
  CASE WHEN `quantity` IS NULL THEN 0 WHEN CAST(`quantity` AS FLOAT64) <= 1e+01 THEN 1 WHEN CAST(`quantity` AS FLOAT64) <= 1e+06 THEN 2 ELSE 3 END,
  `provider`,
  CAST(`gift` AS STRING),
  CASE WHEN `seen` IS NULL THEN 0 WHEN `seen` > TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 0 SECOND) THEN 1 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 60 SECOND) THEN 2 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 300 SECOND) THEN 3 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 900 SECOND) THEN 4 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 3600 SECOND) THEN 5 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 21600 SECOND) THEN 6 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 86400 SECOND) THEN 7 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 604800 SECOND) THEN 8 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 2592000 SECOND) THEN 9 WHEN `seen` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 31536000 SECOND) THEN 10 ELSE 11 END,
  CASE WHEN `at` IS NULL THEN 0 ELSE 1 END,
  CASE WHEN `born` IS NULL THEN 0 WHEN `born` > TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 0 SECOND) THEN 1 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 60 SECOND) THEN 2 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 300 SECOND) THEN 3 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 900 SECOND) THEN 4 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 3600 SECOND) THEN 5 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 21600 SECOND) THEN 6 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 86400 SECOND) THEN 7 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 604800 SECOND) THEN 8 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 2592000 SECOND) THEN 9 WHEN `born` >= TIMESTAMP_SUB(TIMESTAMP(`at`), INTERVAL 31536000 SECOND) THEN 10 ELSE 11 END,
  CASE WHEN `notes` IS NULL THEN 0 ELSE 1 END
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t
WHERE ((`at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00') OR (`at` >= TIMESTAMP '2026-11-17 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-17 06:00:00.000000+00:00')) AND RAND() < 2.5e-01
LIMIT 1000;

-- records outside the window
SELECT COUNTIF(`at` IS NULL),
  COUNTIF(`at` >= TIMESTAMP '2026-11-24 06:00:00.000000+00:00'),
  count(`at`),
  max(CASE WHEN `at` IS NULL THEN CAST(`at` AS STRING) END)
FROM `shop`.`orders` AS t WHERE `at` IS NULL OR `at` >= TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- duplicates of many rows
SELECT sum(n - 1)
FROM (SELECT count(*) AS n FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00' AND `quantity` IS NOT NULL AND `provider` IS NOT NULL AND MOD(FARM_FINGERPRINT(CAST(`quantity` AS STRING) || '|' || CAST(`provider` AS STRING)), 16) = 0 GROUP BY `quantity`, `provider` HAVING count(*) > 1) AS k;

-- checks
SELECT [COUNTIF(`provider` NOT IN ('visa', 'O\'Brien')), COUNTIF((`quantity` < 0 OR `quantity` > 10)), COUNTIF(NOT REGEXP_CONTAINS(`provider`, '^\\w+$')), COUNTIF((`born` < TIMESTAMP '2026-11-24 00:00:00.000000+00:00')), COUNTIF(`amount` IS NULL), COUNTIF(NOT (amount >= 0
))]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT [COUNTIF(`provider` NOT IN ('visa', 'O\'Brien'))]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT [COUNTIF((`quantity` < 0 OR `quantity` > 10))]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT [COUNTIF(NOT REGEXP_CONTAINS(`provider`, '^\\w+$'))]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT [COUNTIF((`born` < TIMESTAMP '2026-11-24 00:00:00.000000+00:00'))]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT [COUNTIF(`amount` IS NULL)]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT [COUNTIF(NOT (amount >= 0
))]
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE `at` >= TIMESTAMP '2026-11-24 05:00:00.000000+00:00' AND `at` < TIMESTAMP '2026-11-24 06:00:00.000000+00:00';

-- classes against their labels
SELECT coalesce(CAST(`provider` AS STRING), ''),
  coalesce(CAST(`quantity` AS STRING), ''),
  coalesce(CAST(`born` AS STRING), ''),
  coalesce(CAST(`provider` AS STRING), 'null'),
  coalesce(CAST(`gift` AS STRING), 'null'),
  '',
  0,
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
  '',
  0,
  count(*),
  0,
  0,
  sum(abs(CAST(`amount` AS FLOAT64) - CAST(`quantity` AS FLOAT64))),
  sum((CAST(`amount` AS FLOAT64) - CAST(`quantity` AS FLOAT64)) * (CAST(`amount` AS FLOAT64) - CAST(`quantity` AS FLOAT64)))
FROM (SELECT `amount`, `quantity`, `provider`, `gift`, TIMESTAMP(`seen`) AS `seen`, `at`, TIMESTAMP(`born`) AS `born`, `notes` FROM `shop`.`orders` AS t) AS t WHERE CAST(`amount` AS FLOAT64) <> CAST('-inf' AS FLOAT64) AND CAST(`amount` AS FLOAT64) <> CAST('inf' AS FLOAT64) AND NOT (IS_NAN(CAST(`amount` AS FLOAT64))) AND `amount` IS NOT NULL AND `quantity` IS NOT NULL
LIMIT 1001;
