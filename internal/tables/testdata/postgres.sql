-- schema
SELECT * FROM "shop"."orders" AS t LIMIT 0;

-- profile of a window
SELECT count(*),
  max("at"),
  ARRAY[count("amount"), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = 'NaN'), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = 'Infinity'), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = '-Infinity'), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) <= -5e-324), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) <= 0e+00), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) <= 1.25e+01)],
  ARRAY[count("quantity"), count(*) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) <= 1e+01), count(*) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) <= 1e+06)],
  ARRAY[count("provider"), count(*) FILTER (WHERE "provider" IN ('visa')), count(*) FILTER (WHERE "provider" IN ('O''Brien')), count(*) FILTER (WHERE "provider" NOT IN ('visa', 'O''Brien', 'back\slash', ''))],
  ARRAY[count("gift"), count(*) FILTER (WHERE CAST("gift" AS TEXT) IN ('true', 'True', 'TRUE', 't', '1', '1.0', '1.00')), count(*) FILTER (WHERE CAST("gift" AS TEXT) IN ('false', 'False', 'FALSE', 'f', '0', '0.0', '0.00'))],
  ARRAY[count("seen"), count(*) FILTER (WHERE "seen" > "at" - INTERVAL '0' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '60' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '300' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '900' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '3600' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '21600' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '86400' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '604800' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '2592000' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '31536000' SECOND)],
  ARRAY[count("born"), count(*) FILTER (WHERE "born" > "at" - INTERVAL '0' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '60' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '300' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '900' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '3600' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '21600' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '86400' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '604800' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '2592000' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '31536000' SECOND)],
  ARRAY[CAST(count(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140) AS DOUBLE PRECISION), min(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), max(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), sum(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), stddev_pop(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), CAST(count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = 0) AS DOUBLE PRECISION)],
  ARRAY[CAST(count(CAST("quantity" AS DOUBLE PRECISION)) AS DOUBLE PRECISION), min(CAST("quantity" AS DOUBLE PRECISION)), max(CAST("quantity" AS DOUBLE PRECISION)), sum(CAST("quantity" AS DOUBLE PRECISION)), stddev_pop(CAST("quantity" AS DOUBLE PRECISION)), CAST(count(*) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) = 0) AS DOUBLE PRECISION)],
  ARRAY[count("notes")]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- profile of a table without a timestamp column
SELECT count(*),
  ARRAY[count("born"), count(*) FILTER (WHERE "born" > TIMESTAMP '2026-11-24 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:59:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:55:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:45:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 00:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-23 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-17 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-10-25 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2025-11-24 06:00:00.000000')]
FROM (
SELECT * FROM shop.orders
) AS t;

-- latest record
SELECT count(*),
  max("at")
FROM "shop"."orders" AS t WHERE "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- statistics that choose bins
SELECT count(*),
  ARRAY[count("amount"), count(DISTINCT "amount")],
  ARRAY[count("quantity"), count(DISTINCT "quantity")],
  ARRAY[count("provider"), count(DISTINCT "provider")],
  ARRAY[count("gift"), count(DISTINCT "gift")],
  ARRAY[CAST(count(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140) AS DOUBLE PRECISION), min(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), max(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), sum(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), stddev_pop(CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE abs(CAST("amount" AS DOUBLE PRECISION)) < 1e140), CAST(count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = 0) AS DOUBLE PRECISION)],
  ARRAY[CAST(count(CAST("quantity" AS DOUBLE PRECISION)) AS DOUBLE PRECISION), min(CAST("quantity" AS DOUBLE PRECISION)), max(CAST("quantity" AS DOUBLE PRECISION)), sum(CAST("quantity" AS DOUBLE PRECISION)), stddev_pop(CAST("quantity" AS DOUBLE PRECISION)), CAST(count(*) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) = 0) AS DOUBLE PRECISION)]
FROM "shop"."orders" AS t;

-- quantiles
SELECT percentile_disc(CAST(ARRAY[2.5e-03, 7.5e-03, 1.25e-02, 1.75e-02, 2.25e-02, 2.75e-02, 3.25e-02, 3.75e-02, 4.25e-02, 4.75e-02, 5.25e-02, 5.75e-02, 6.25e-02, 6.75e-02, 7.25e-02, 7.75e-02, 8.25e-02, 8.75e-02, 9.25e-02, 9.75e-02, 1.025e-01, 1.075e-01, 1.125e-01, 1.175e-01, 1.225e-01, 1.275e-01, 1.325e-01, 1.375e-01, 1.425e-01, 1.475e-01, 1.525e-01, 1.575e-01, 1.625e-01, 1.675e-01, 1.725e-01, 1.775e-01, 1.825e-01, 1.875e-01, 1.925e-01, 1.975e-01, 2.025e-01, 2.075e-01, 2.125e-01, 2.175e-01, 2.225e-01, 2.275e-01, 2.325e-01, 2.375e-01, 2.425e-01, 2.475e-01, 2.525e-01, 2.575e-01, 2.625e-01, 2.675e-01, 2.725e-01, 2.775e-01, 2.825e-01, 2.875e-01, 2.925e-01, 2.975e-01, 3.025e-01, 3.075e-01, 3.125e-01, 3.175e-01, 3.225e-01, 3.275e-01, 3.325e-01, 3.375e-01, 3.425e-01, 3.475e-01, 3.525e-01, 3.575e-01, 3.625e-01, 3.675e-01, 3.725e-01, 3.775e-01, 3.825e-01, 3.875e-01, 3.925e-01, 3.975e-01, 4.025e-01, 4.075e-01, 4.125e-01, 4.175e-01, 4.225e-01, 4.275e-01, 4.325e-01, 4.375e-01, 4.425e-01, 4.475e-01, 4.525e-01, 4.575e-01, 4.625e-01, 4.675e-01, 4.725e-01, 4.775e-01, 4.825e-01, 4.875e-01, 4.925e-01, 4.975e-01, 5.025e-01, 5.075e-01, 5.125e-01, 5.175e-01, 5.225e-01, 5.275e-01, 5.325e-01, 5.375e-01, 5.425e-01, 5.475e-01, 5.525e-01, 5.575e-01, 5.625e-01, 5.675e-01, 5.725e-01, 5.775e-01, 5.825e-01, 5.875e-01, 5.925e-01, 5.975e-01, 6.025e-01, 6.075e-01, 6.125e-01, 6.175e-01, 6.225e-01, 6.275e-01, 6.325e-01, 6.375e-01, 6.425e-01, 6.475e-01, 6.525e-01, 6.575e-01, 6.625e-01, 6.675e-01, 6.725e-01, 6.775e-01, 6.825e-01, 6.875e-01, 6.925e-01, 6.975e-01, 7.025e-01, 7.075e-01, 7.125e-01, 7.175e-01, 7.225e-01, 7.275e-01, 7.325e-01, 7.375e-01, 7.425e-01, 7.475e-01, 7.525e-01, 7.575e-01, 7.625e-01, 7.675e-01, 7.725e-01, 7.775e-01, 7.825e-01, 7.875e-01, 7.925e-01, 7.975e-01, 8.025e-01, 8.075e-01, 8.125e-01, 8.175e-01, 8.225e-01, 8.275e-01, 8.325e-01, 8.375e-01, 8.425e-01, 8.475e-01, 8.525e-01, 8.575e-01, 8.625e-01, 8.675e-01, 8.725e-01, 8.775e-01, 8.825e-01, 8.875e-01, 8.925e-01, 8.975e-01, 9.025e-01, 9.075e-01, 9.125e-01, 9.175e-01, 9.225e-01, 9.275e-01, 9.325e-01, 9.375e-01, 9.425e-01, 9.475e-01, 9.525e-01, 9.575e-01, 9.625e-01, 9.675e-01, 9.725e-01, 9.775e-01, 9.825e-01, 9.875e-01, 9.925e-01, 9.975e-01] AS DOUBLE PRECISION[])) WITHIN GROUP (ORDER BY CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) NOT IN ('NaN', 'Infinity', '-Infinity')),
  percentile_disc(CAST(ARRAY[2.5e-03, 7.5e-03, 1.25e-02, 1.75e-02, 2.25e-02, 2.75e-02, 3.25e-02, 3.75e-02, 4.25e-02, 4.75e-02, 5.25e-02, 5.75e-02, 6.25e-02, 6.75e-02, 7.25e-02, 7.75e-02, 8.25e-02, 8.75e-02, 9.25e-02, 9.75e-02, 1.025e-01, 1.075e-01, 1.125e-01, 1.175e-01, 1.225e-01, 1.275e-01, 1.325e-01, 1.375e-01, 1.425e-01, 1.475e-01, 1.525e-01, 1.575e-01, 1.625e-01, 1.675e-01, 1.725e-01, 1.775e-01, 1.825e-01, 1.875e-01, 1.925e-01, 1.975e-01, 2.025e-01, 2.075e-01, 2.125e-01, 2.175e-01, 2.225e-01, 2.275e-01, 2.325e-01, 2.375e-01, 2.425e-01, 2.475e-01, 2.525e-01, 2.575e-01, 2.625e-01, 2.675e-01, 2.725e-01, 2.775e-01, 2.825e-01, 2.875e-01, 2.925e-01, 2.975e-01, 3.025e-01, 3.075e-01, 3.125e-01, 3.175e-01, 3.225e-01, 3.275e-01, 3.325e-01, 3.375e-01, 3.425e-01, 3.475e-01, 3.525e-01, 3.575e-01, 3.625e-01, 3.675e-01, 3.725e-01, 3.775e-01, 3.825e-01, 3.875e-01, 3.925e-01, 3.975e-01, 4.025e-01, 4.075e-01, 4.125e-01, 4.175e-01, 4.225e-01, 4.275e-01, 4.325e-01, 4.375e-01, 4.425e-01, 4.475e-01, 4.525e-01, 4.575e-01, 4.625e-01, 4.675e-01, 4.725e-01, 4.775e-01, 4.825e-01, 4.875e-01, 4.925e-01, 4.975e-01, 5.025e-01, 5.075e-01, 5.125e-01, 5.175e-01, 5.225e-01, 5.275e-01, 5.325e-01, 5.375e-01, 5.425e-01, 5.475e-01, 5.525e-01, 5.575e-01, 5.625e-01, 5.675e-01, 5.725e-01, 5.775e-01, 5.825e-01, 5.875e-01, 5.925e-01, 5.975e-01, 6.025e-01, 6.075e-01, 6.125e-01, 6.175e-01, 6.225e-01, 6.275e-01, 6.325e-01, 6.375e-01, 6.425e-01, 6.475e-01, 6.525e-01, 6.575e-01, 6.625e-01, 6.675e-01, 6.725e-01, 6.775e-01, 6.825e-01, 6.875e-01, 6.925e-01, 6.975e-01, 7.025e-01, 7.075e-01, 7.125e-01, 7.175e-01, 7.225e-01, 7.275e-01, 7.325e-01, 7.375e-01, 7.425e-01, 7.475e-01, 7.525e-01, 7.575e-01, 7.625e-01, 7.675e-01, 7.725e-01, 7.775e-01, 7.825e-01, 7.875e-01, 7.925e-01, 7.975e-01, 8.025e-01, 8.075e-01, 8.125e-01, 8.175e-01, 8.225e-01, 8.275e-01, 8.325e-01, 8.375e-01, 8.425e-01, 8.475e-01, 8.525e-01, 8.575e-01, 8.625e-01, 8.675e-01, 8.725e-01, 8.775e-01, 8.825e-01, 8.875e-01, 8.925e-01, 8.975e-01, 9.025e-01, 9.075e-01, 9.125e-01, 9.175e-01, 9.225e-01, 9.275e-01, 9.325e-01, 9.375e-01, 9.425e-01, 9.475e-01, 9.525e-01, 9.575e-01, 9.625e-01, 9.675e-01, 9.725e-01, 9.775e-01, 9.825e-01, 9.875e-01, 9.925e-01, 9.975e-01] AS DOUBLE PRECISION[])) WITHIN GROUP (ORDER BY CAST("quantity" AS DOUBLE PRECISION)) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) NOT IN ('NaN', 'Infinity', '-Infinity'))
FROM "shop"."orders" AS t;

-- categories
SELECT category, count(*) AS n FROM (SELECT CAST("gift" AS TEXT) AS category FROM "shop"."orders" AS t) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT 2001;

-- comparison
SELECT 1 WHERE at >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND at < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- hours of a window
SELECT floor((CAST(extract(epoch FROM "at") AS DOUBLE PRECISION)) / 3600),
  count(*),
  max("at"),
  ARRAY[count("amount")]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00'
GROUP BY floor((CAST(extract(epoch FROM "at") AS DOUBLE PRECISION)) / 3600);

-- parts of a window
SELECT ((CASE WHEN CAST("provider" AS TEXT) IN ('visa') THEN 0 WHEN CAST("provider" AS TEXT) IN ('O''Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST("quantity" AS TEXT) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END) * 3 + CASE WHEN "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:59:00.000000+00:00' THEN 2 WHEN "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:58:00.000000+00:00' THEN 1 ELSE 0 END,
  count(*),
  max("at"),
  ARRAY[count("amount")]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00'
GROUP BY ((CASE WHEN CAST("provider" AS TEXT) IN ('visa') THEN 0 WHEN CAST("provider" AS TEXT) IN ('O''Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST("quantity" AS TEXT) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END) * 3 + CASE WHEN "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:59:00.000000+00:00' THEN 2 WHEN "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:58:00.000000+00:00' THEN 1 ELSE 0 END;

-- the rest of a split
SELECT count(*),
  max("at")
FROM (SELECT * FROM "shop"."orders" AS t WHERE ("provider" IS NULL OR CAST("provider" AS TEXT) NOT IN ('visa', 'O''Brien')) AND ("quantity" IS NULL OR CAST("quantity" AS TEXT) NOT IN ('1', '1.0', '1.00'))) AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- duplicates of parts
SELECT part,
  sum(n - 1)
FROM (SELECT (CASE WHEN CAST("provider" AS TEXT) IN ('visa') THEN 0 WHEN CAST("provider" AS TEXT) IN ('O''Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST("quantity" AS TEXT) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END AS part, count(*) AS n FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00' AND "born" IS NOT NULL GROUP BY (CASE WHEN CAST("provider" AS TEXT) IN ('visa') THEN 0 WHEN CAST("provider" AS TEXT) IN ('O''Brien') THEN 1 ELSE 2 END) * 2 + CASE WHEN CAST("quantity" AS TEXT) IN ('1', '1.0', '1.00') THEN 0 ELSE 1 END, "born" HAVING count(*) > 1) AS k
GROUP BY part;

-- sample of two windows
SELECT CASE WHEN "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00' THEN 0 WHEN "at" >= TIMESTAMP WITH TIME ZONE '2026-11-17 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-17 06:00:00.000000+00:00' THEN 1 ELSE 0 END,
  CAST(floor((CAST(extract(epoch FROM "at") AS DOUBLE PRECISION)) * 1000) AS BIGINT),
  CASE WHEN "amount" IS NULL THEN 0 WHEN CAST("amount" AS DOUBLE PRECISION) = 'NaN' THEN 1 WHEN CAST("amount" AS DOUBLE PRECISION) = 'Infinity' OR CAST("amount" AS DOUBLE PRECISION) = '-Infinity' THEN 2 WHEN CAST("amount" AS DOUBLE PRECISION) <= -5e-324 THEN 3 WHEN CAST("amount" AS DOUBLE PRECISION) <= 0e+00 THEN 4 WHEN CAST("amount" AS DOUBLE PRECISION) <= 1.25e+01 THEN 5 ELSE 6 END,
  CASE WHEN "quantity" IS NULL THEN 0 WHEN CAST("quantity" AS DOUBLE PRECISION) <= 1e+01 THEN 1 WHEN CAST("quantity" AS DOUBLE PRECISION) <= 1e+06 THEN 2 ELSE 3 END,
  "provider",
  CAST("gift" AS TEXT),
  CASE WHEN "seen" IS NULL THEN 0 WHEN "seen" > "at" - INTERVAL '0' SECOND THEN 1 WHEN "seen" >= "at" - INTERVAL '60' SECOND THEN 2 WHEN "seen" >= "at" - INTERVAL '300' SECOND THEN 3 WHEN "seen" >= "at" - INTERVAL '900' SECOND THEN 4 WHEN "seen" >= "at" - INTERVAL '3600' SECOND THEN 5 WHEN "seen" >= "at" - INTERVAL '21600' SECOND THEN 6 WHEN "seen" >= "at" - INTERVAL '86400' SECOND THEN 7 WHEN "seen" >= "at" - INTERVAL '604800' SECOND THEN 8 WHEN "seen" >= "at" - INTERVAL '2592000' SECOND THEN 9 WHEN "seen" >= "at" - INTERVAL '31536000' SECOND THEN 10 ELSE 11 END,
  CASE WHEN "at" IS NULL THEN 0 ELSE 1 END,
  CASE WHEN "born" IS NULL THEN 0 WHEN "born" > "at" - INTERVAL '0' SECOND THEN 1 WHEN "born" >= "at" - INTERVAL '60' SECOND THEN 2 WHEN "born" >= "at" - INTERVAL '300' SECOND THEN 3 WHEN "born" >= "at" - INTERVAL '900' SECOND THEN 4 WHEN "born" >= "at" - INTERVAL '3600' SECOND THEN 5 WHEN "born" >= "at" - INTERVAL '21600' SECOND THEN 6 WHEN "born" >= "at" - INTERVAL '86400' SECOND THEN 7 WHEN "born" >= "at" - INTERVAL '604800' SECOND THEN 8 WHEN "born" >= "at" - INTERVAL '2592000' SECOND THEN 9 WHEN "born" >= "at" - INTERVAL '31536000' SECOND THEN 10 ELSE 11 END,
  CASE WHEN "notes" IS NULL THEN 0 ELSE 1 END
FROM "shop"."orders" AS t
WHERE (("at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00') OR ("at" >= TIMESTAMP WITH TIME ZONE '2026-11-17 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-17 06:00:00.000000+00:00')) AND random() < 2.5e-01
LIMIT 1000;

-- records outside the window
SELECT count(*) FILTER (WHERE "at" IS NULL),
  count(*) FILTER (WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00'),
  count("at"),
  max(CASE WHEN "at" IS NULL THEN CAST("at" AS TEXT) END)
FROM "shop"."orders" AS t WHERE "at" IS NULL OR "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- duplicates of many rows
SELECT sum(n - 1)
FROM (SELECT count(*) AS n FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00' AND "quantity" IS NOT NULL AND "provider" IS NOT NULL AND hashtext(CAST("quantity" AS TEXT) || '|' || CAST("provider" AS TEXT)) % 16 = 0 GROUP BY "quantity", "provider" HAVING count(*) > 1) AS k;

-- checks
SELECT ARRAY[count(*) FILTER (WHERE "provider" NOT IN ('visa', 'O''Brien')), count(*) FILTER (WHERE ("quantity" < 0 OR "quantity" > 10)), count(*) FILTER (WHERE NOT ("provider" ~ '^\w+$')), count(*) FILTER (WHERE ("born" < TIMESTAMP '2026-11-24 00:00:00.000000')), count(*) FILTER (WHERE "amount" IS NULL), count(*) FILTER (WHERE NOT (amount >= 0
))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT ARRAY[count(*) FILTER (WHERE "provider" NOT IN ('visa', 'O''Brien'))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT ARRAY[count(*) FILTER (WHERE ("quantity" < 0 OR "quantity" > 10))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT ARRAY[count(*) FILTER (WHERE NOT ("provider" ~ '^\w+$'))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT ARRAY[count(*) FILTER (WHERE ("born" < TIMESTAMP '2026-11-24 00:00:00.000000'))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT ARRAY[count(*) FILTER (WHERE "amount" IS NULL)]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT ARRAY[count(*) FILTER (WHERE NOT (amount >= 0
))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- classes against their labels
SELECT coalesce(CAST("provider" AS TEXT), ''),
  coalesce(CAST("quantity" AS TEXT), ''),
  coalesce(CAST("born" AS TEXT), ''),
  coalesce(CAST("provider" AS TEXT), 'null'),
  coalesce(CAST("gift" AS TEXT), 'null'),
  '',
  0,
  count(*),
  count("born"),
  sum(CAST(extract(epoch FROM "born") AS DOUBLE PRECISION) - CAST(extract(epoch FROM "at") AS DOUBLE PRECISION)),
  0,
  0
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00' AND "gift" IS NOT NULL
GROUP BY coalesce(CAST("provider" AS TEXT), ''), coalesce(CAST("quantity" AS TEXT), ''), coalesce(CAST("born" AS TEXT), ''), coalesce(CAST("provider" AS TEXT), 'null'), coalesce(CAST("gift" AS TEXT), 'null')
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
  sum(abs(CAST("amount" AS DOUBLE PRECISION) - CAST("quantity" AS DOUBLE PRECISION))),
  sum((CAST("amount" AS DOUBLE PRECISION) - CAST("quantity" AS DOUBLE PRECISION)) * (CAST("amount" AS DOUBLE PRECISION) - CAST("quantity" AS DOUBLE PRECISION)))
FROM "shop"."orders" AS t WHERE "amount" IS NOT NULL AND "quantity" IS NOT NULL AND CAST("amount" AS DOUBLE PRECISION) <> '-Infinity' AND CAST("amount" AS DOUBLE PRECISION) <> 'Infinity' AND NOT (CAST("amount" AS DOUBLE PRECISION) = 'NaN')
LIMIT 1001;
