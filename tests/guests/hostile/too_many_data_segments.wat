;; More pieces of data than a module may have. It must be refused.
(component
  (core module (@repeat 100001 (data "x"))))
