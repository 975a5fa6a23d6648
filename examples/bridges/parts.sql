-- A stock of parts in MySQL or MariaDB. `hromada bridges sql examples/bridges/parts.toml --role bridge` prints the outbox
-- and its triggers.
CREATE TABLE parts (
    id bigint PRIMARY KEY,
    name varchar(80) NOT NULL,
    price decimal(10, 2) NOT NULL,
    supplier varchar(40),
    changed_at datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
    KEY parts_by_time (changed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

INSERT INTO parts (id, name, price, supplier) VALUES
    (1, 'Bolt', 0.10, 'anna'),
    (2, 'Nut', 0.05, 'anna'),
    (3, 'Шайба', 0.02, 'borys');
