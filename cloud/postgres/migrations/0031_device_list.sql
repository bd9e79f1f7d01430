-- Sites of a company become a tree: a site may be in another one of the same company. Siblings have different names.

ALTER TABLE site ADD COLUMN parent_id bigint;
ALTER TABLE site ADD COLUMN above bigint[] NOT NULL DEFAULT '{}';  -- the sites that it is in, the outermost first
ALTER TABLE site ADD CONSTRAINT site_of_company UNIQUE (company_id, site_id);
ALTER TABLE site ADD CONSTRAINT site_parent FOREIGN KEY (company_id, parent_id) REFERENCES site (company_id, site_id);
ALTER TABLE site DROP CONSTRAINT site_company_id_name_key;
CREATE UNIQUE INDEX site_name ON site (company_id, coalesce(parent_id, 0), name);
CREATE INDEX site_below ON site (parent_id) WHERE parent_id IS NOT NULL;
