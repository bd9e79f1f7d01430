-- What people think of the help pages, and who looks after this installation.

CREATE TABLE help_opinion (
    account_id   bigint   NOT NULL REFERENCES account,
    page         text     NOT NULL,                 -- cloud/core/help.py; one that has gone keeps its opinions
    rating       smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    comment      text     NOT NULL,
    changed_ms   bigint   NOT NULL,
    PRIMARY KEY (account_id, page)
);
CREATE INDEX help_opinion_newest ON help_opinion (changed_ms DESC, account_id, page);

-- Accounts that see the operator's pages. Named on the command line only.
CREATE TABLE operator (
    account_id   bigint   PRIMARY KEY REFERENCES account,
    since_ms     bigint   NOT NULL
);
