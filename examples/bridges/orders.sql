-- A shop with orders, and a role for the bridge that may read them. The publication is for `mode = "logical"`,
-- which needs `wal_level = logical` in postgresql.conf.
CREATE TABLE public.orders (
    id bigint PRIMARY KEY,
    status text NOT NULL DEFAULT 'new',
    total numeric(12, 2) NOT NULL,
    currency text NOT NULL DEFAULT 'EUR',
    customer_id text,
    card_number text, -- not mapped: it never leaves the database
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_by_time ON public.orders (updated_at);

CREATE FUNCTION touch_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION touch_orders();

INSERT INTO public.orders (id, status, total, customer_id) VALUES
    (1, 'new', 120.00, 'anna'),
    (2, 'shipped', 80.50, 'borys'),
    (3, 'paid', 49.99, 'anna');
