-- Wishes that are open are few: whoever looks for those signed for a former key finds them at once.
CREATE INDEX device_setting_open ON device_setting (device_id) WHERE sealed IS NOT NULL;
