//! The orders that are placed.
//!
//! Pure: the same plan always gives the same orders. With about ten orders per customer, as in the demo, some
//! 15% of the orders exceed their customer's credit and 5% are of an item that is no longer made. The more
//! orders each customer has, the nearer all customers are to the average, and the fewer orders exceed.

use std::num::NonZeroU64;

use crate::event::Placement;

/// What a customer may have reserved at a time; `config.limit` of the handler `credit`.
pub const LIMIT: u64 = 10_000;

/// The item that is no longer made; `config.discontinued` of the handler `order`.
pub const DISCONTINUED: &str = "spinning-jenny";

/// The items that are still made.
const ITEMS: [&str; 4] = ["loom", "heddle", "shuttle", "reed"];

/// One order in this many is of [`DISCONTINUED`]. A few of these exceed the credit first, so one in 17 gives
/// about 5%.
const DISCONTINUED_ONE_IN: u64 = 17;

/// What all orders of a customer come to, in percent of [`LIMIT`]. Of ten orders each, 13% exceed it then if
/// each order ends before the next is placed, and some more if the credit of cancelled orders is freed later.
const DEMAND_PERCENT: u64 = 102;

/// How many orders of how many customers, drawn from which seed.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The number of orders.
    pub orders: u64,
    /// The number of customers they are spread over.
    pub customers: NonZeroU64,
    /// Seeds every choice, and is part of each order's name: plans of two seeds share no order.
    pub seed: u64,
}

/// One order to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who places it: the last token of the subject.
    pub customer: String,
    /// The payload.
    pub placement: Placement,
}

impl Plan {
    /// The orders of this plan, in the order in which they are placed.
    pub fn orders(self) -> impl Iterator<Item = Order> {
        let mut random = Random(self.seed);
        let mean = self.mean_amount();
        (1..=self.orders).map(move |number| {
            let customer = random.below(self.customers.get()) + 1;
            let item = match random.below(DISCONTINUED_ONE_IN) {
                0 => DISCONTINUED,
                _ => random.pick(&ITEMS),
            };
            let amount = (mean / 2 + random.below(mean + 1)).max(1);
            Order {
                customer: format!("c{customer}"),
                placement: Placement {
                    order: format!("o-{}-{number}", self.seed),
                    item: item.to_owned(),
                    amount,
                },
            }
        })
    }

    /// The amount at which the orders of an average customer come to [`DEMAND_PERCENT`] of the limit.
    fn mean_amount(self) -> u64 {
        let demand = LIMIT * DEMAND_PERCENT / 100 * self.customers.get();
        demand.checked_div(self.orders).unwrap_or(1).max(1)
    }
}

/// `splitmix64`: small, seeded and good enough to draw orders with.
#[derive(Debug, Default)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0. The bias of the remainder does not matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(items.len() as u64)).unwrap_or(0);
        items.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn plan(orders: u64, customers: u64, seed: u64) -> Plan {
        Plan { orders, customers: NonZeroU64::new(customers).unwrap(), seed }
    }

    /// The shares of orders, in percent, that exceed their credit and that are discontinued.
    fn shares(plan: Plan) -> (u64, u64) {
        let mut reserved: HashMap<String, u64> = HashMap::new();
        let (mut exceeded, mut discontinued) = (0, 0);
        for order in plan.orders() {
            let held = reserved.entry(order.customer).or_default();
            if *held + order.placement.amount > LIMIT {
                exceeded += 1;
            } else if order.placement.item == DISCONTINUED {
                discontinued += 1;
            } else {
                *held += order.placement.amount;
            }
        }
        (exceeded * 100 / plan.orders, discontinued * 100 / plan.orders)
    }

    #[test]
    fn the_same_plan_gives_the_same_orders() {
        assert!(plan(100, 7, 3).orders().eq(plan(100, 7, 3).orders()));
        assert!(plan(100, 7, 3).orders().ne(plan(100, 7, 4).orders()));
    }

    #[test]
    fn about_15_percent_exceed_and_5_percent_are_discontinued() {
        for (orders, customers, seed) in
            [(5_000, 500, 1), (1_000, 100, 1), (5_000, 500, 2), (20_000, 2_000, 3)]
        {
            let (exceeded, discontinued) = shares(plan(orders, customers, seed));
            assert!((11..=16).contains(&exceeded), "{orders}/{customers}: {exceeded}% exceeded");
            assert!((4..=6).contains(&discontinued), "{orders}/{customers}: {discontinued}% discontinued");
        }
    }

    #[test]
    fn the_handlers_are_configured_with_the_terms_the_checker_knows() {
        let config = include_str!("../heddle.toml");
        assert!(config.contains(&format!("limit = \"{LIMIT}\"")));
        assert!(config.contains(&format!("discontinued = \"{DISCONTINUED}\"")));
    }
}
