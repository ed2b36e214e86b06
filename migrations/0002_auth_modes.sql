-- The first schema admitted an auth_mode that no picloud knows yet. The migration
-- that comes with it will admit it. No node has written one; a row written by hand
-- gets the mode that lets in fewer.
UPDATE topics SET auth_mode = 'token' WHERE auth_mode NOT IN ('public', 'token');
ALTER TABLE topics DROP CONSTRAINT topics_auth_mode_check;
ALTER TABLE topics ADD CONSTRAINT topics_auth_mode_check CHECK (auth_mode IN ('public', 'token'));
