-- The users table of WordPress 6.8, as its installer makes it, with one person for trying. A site has this already.
CREATE TABLE wp_users (
    ID bigint unsigned NOT NULL AUTO_INCREMENT,
    user_login varchar(60) NOT NULL DEFAULT '',
    user_pass varchar(255) NOT NULL DEFAULT '',
    user_nicename varchar(50) NOT NULL DEFAULT '',
    user_email varchar(100) NOT NULL DEFAULT '',
    user_url varchar(100) NOT NULL DEFAULT '',
    user_registered datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
    user_activation_key varchar(255) NOT NULL DEFAULT '',
    user_status int NOT NULL DEFAULT 0,
    display_name varchar(250) NOT NULL DEFAULT '',
    PRIMARY KEY (ID),
    KEY user_login_key (user_login),
    KEY user_nicename (user_nicename),
    KEY user_email (user_email)
) DEFAULT CHARACTER SET utf8mb4;

-- The password is "correct horse battery staple".
INSERT INTO wp_users (user_login, user_pass, user_nicename, user_email, user_registered, display_name) VALUES
    ('Solomiia', '$wp$2y$10$S./jSZnuGfsAH7IvAVdzjOphHQR/7W3Ga01N9tt.KySdwKSHANanK', 'solomiia', 'solomiia@site.example', '2026-01-31 10:00:00', 'Solomiia K.');
