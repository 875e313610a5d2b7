;; Eight megabytes of notes that nobody reads. They must be passed over: it must run.
(@custom "notes" (@repeat 131072 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" ))
(func $handle (type $event) (call $done))
