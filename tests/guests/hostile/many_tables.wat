;; Two hundred tables. It must be refused.
(component
  (core module (@repeat 200 (table 10 funcref))))
