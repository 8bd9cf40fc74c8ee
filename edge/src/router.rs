//! Which resource a path names, and which methods it takes. Matched by hand, without allocating.
//!
//! The parameter of a path comes out as it stands in the path, percent-encoded if it was;
//! [`decode`] turns it into text. Paths carry no trailing slash.

use hyper::Method;
use std::borrow::Cow;

/// What a path names, with its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    Health,
    Ready,
    Orders,
    FlashSaleOrders(&'a str),
    Order(&'a str),
    OrderStatus(&'a str),
    OrderCancel(&'a str),
    OrderPay(&'a str),
    OrdersOfUser(&'a str),
    Products,
    FlashSale,
    Product(&'a str),
    ProductInventory(&'a str),
    ProductState(&'a str),
    Unknown,
}

/// What is to be done: a resource and a method that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    Health,
    Ready,
    PlaceOrder,
    PlaceFlashSaleOrder(&'a str),
    ReadOrder(&'a str),
    ReadOrderStatus(&'a str),
    CancelOrder(&'a str),
    PayOrder(&'a str),
    ListOrders(&'a str),
    ListProducts,
    ListFlashSale,
    ReadProduct(&'a str),
    DefineProduct(&'a str),
    ChangeInventory(&'a str),
    ChangeState(&'a str),
}

impl Action<'_> {
    /// Whether it serves anyone, without a token, and costs the engine or the store something.
    pub(crate) const fn is_anonymous(self) -> bool {
        matches!(self, Self::ListProducts | Self::ListFlashSale | Self::ReadProduct(_))
    }
}

/// Why a request has no [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAction {
    UnknownPath,
    /// The methods that the path takes, as the `Allow` header wants them.
    WrongMethod(&'static str),
}

/// The routes as metrics name them. [`Resource::route`] gives the index.
pub(crate) const ROUTES: [&str; 15] = [
    "/health",
    "/ready",
    "/orders",
    "/orders/flash-sale/{product}",
    "/orders/{id}",
    "/orders/{id}/status",
    "/orders/{id}/cancel",
    "/orders/{id}/pay",
    "/orders/user/{userId}",
    "/products",
    "/products/flash-sale",
    "/products/{product}",
    "/products/{product}/inventory",
    "/products/{product}/state",
    "unknown",
];

impl<'a> Resource<'a> {
    /// The resource of a path without its query.
    pub(crate) fn of(path: &'a str) -> Self {
        let Some(path) = path.strip_prefix('/') else { return Self::Unknown };
        let mut segments = path.split('/');
        let first = segments.next().unwrap_or_default();
        let (second, third, more) = (segments.next(), segments.next(), segments.next());
        if more.is_some() || second == Some("") || third == Some("") {
            return Self::Unknown;
        }
        match (first, second, third) {
            ("orders", Some("flash-sale"), Some(product)) => Self::FlashSaleOrders(product),
            ("orders", Some("user"), Some(user)) => Self::OrdersOfUser(user),
            ("orders", Some(order), Some("status")) => Self::OrderStatus(order),
            ("orders", Some(order), Some("cancel")) => Self::OrderCancel(order),
            ("orders", Some(order), Some("pay")) => Self::OrderPay(order),
            ("orders", Some(order), None) => Self::Order(order),
            ("orders", None, None) => Self::Orders,
            ("products", Some("flash-sale"), None) => Self::FlashSale,
            ("products", Some(product), Some("inventory")) => Self::ProductInventory(product),
            ("products", Some(product), Some("state")) => Self::ProductState(product),
            ("products", Some(product), None) => Self::Product(product),
            ("products", None, None) => Self::Products,
            ("health", None, None) => Self::Health,
            ("ready", None, None) => Self::Ready,
            _ => Self::Unknown,
        }
    }

    /// Its index in [`ROUTES`].
    pub(crate) const fn route(self) -> usize {
        match self {
            Self::Health => 0,
            Self::Ready => 1,
            Self::Orders => 2,
            Self::FlashSaleOrders(_) => 3,
            Self::Order(_) => 4,
            Self::OrderStatus(_) => 5,
            Self::OrderCancel(_) => 6,
            Self::OrderPay(_) => 7,
            Self::OrdersOfUser(_) => 8,
            Self::Products => 9,
            Self::FlashSale => 10,
            Self::Product(_) => 11,
            Self::ProductInventory(_) => 12,
            Self::ProductState(_) => 13,
            Self::Unknown => 14,
        }
    }

    /// What `method` does to it.
    pub(crate) fn action(self, method: &Method) -> Result<Action<'a>, NoAction> {
        const READ: &str = "GET, HEAD";
        let read = matches!(*method, Method::GET | Method::HEAD);
        let (put, post) = (*method == Method::PUT, *method == Method::POST);
        match self {
            Self::Health if read => Ok(Action::Health),
            Self::Ready if read => Ok(Action::Ready),
            Self::Orders if post => Ok(Action::PlaceOrder),
            Self::FlashSaleOrders(product) if post => Ok(Action::PlaceFlashSaleOrder(product)),
            Self::Order(order) if read => Ok(Action::ReadOrder(order)),
            Self::OrderStatus(order) if read => Ok(Action::ReadOrderStatus(order)),
            Self::OrderCancel(order) if put => Ok(Action::CancelOrder(order)),
            Self::OrderPay(order) if put => Ok(Action::PayOrder(order)),
            Self::OrdersOfUser(user) if read => Ok(Action::ListOrders(user)),
            Self::Products if read => Ok(Action::ListProducts),
            Self::FlashSale if read => Ok(Action::ListFlashSale),
            Self::Product(product) if read => Ok(Action::ReadProduct(product)),
            Self::Product(product) if put => Ok(Action::DefineProduct(product)),
            Self::ProductInventory(product) if put => Ok(Action::ChangeInventory(product)),
            Self::ProductState(product) if put => Ok(Action::ChangeState(product)),
            Self::Unknown => Err(NoAction::UnknownPath),
            Self::Orders | Self::FlashSaleOrders(_) => Err(NoAction::WrongMethod("POST")),
            Self::OrderCancel(_)
            | Self::OrderPay(_)
            | Self::ProductInventory(_)
            | Self::ProductState(_) => Err(NoAction::WrongMethod("PUT")),
            Self::Product(_) => Err(NoAction::WrongMethod("GET, HEAD, PUT")),
            Self::Health
            | Self::Ready
            | Self::Order(_)
            | Self::OrderStatus(_)
            | Self::OrdersOfUser(_)
            | Self::Products
            | Self::FlashSale => Err(NoAction::WrongMethod(READ)),
        }
    }
}

/// Percent-decodes one segment or query value. `None` when an escape is broken or the bytes are no
/// UTF-8. Allocates only when there is an escape.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push((high << 4 | low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// The decoded value of the first `name=` in a query; `Some(None)` when its escapes are broken.
pub(crate) fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<Option<Cow<'a, str>>> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decode(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let check = |path: &str, resource: Resource<'_>| {
            assert_eq!(Resource::of(path), resource, "{path}");
            assert!(ROUTES.get(resource.route()).is_some(), "{path}");
        };
        check("/health", Resource::Health);
        check("/ready", Resource::Ready);
        check("/orders", Resource::Orders);
        check("/orders/flash-sale/shoe", Resource::FlashSaleOrders("shoe"));
        check("/orders/abc", Resource::Order("abc"));
        check("/orders/abc/status", Resource::OrderStatus("abc"));
        check("/orders/abc/cancel", Resource::OrderCancel("abc"));
        check("/orders/abc/pay", Resource::OrderPay("abc"));
        check("/orders/user/ann", Resource::OrdersOfUser("ann"));
        check("/products", Resource::Products);
        check("/products/flash-sale", Resource::FlashSale);
        check("/products/shoe", Resource::Product("shoe"));
        check("/products/shoe/inventory", Resource::ProductInventory("shoe"));
        check("/products/shoe/state", Resource::ProductState("shoe"));
        for path in [
            "",
            "/",
            "*",
            "orders",
            "/orders/",
            "/orders//status",
            "/orders/abc/",
            "/orders/abc/ship",
            "/orders/abc/status/x",
            "/Orders",
            "/products/",
            "/products/shoe/price",
            "/health/x",
            "/metrics",
            "//health",
        ] {
            check(path, Resource::Unknown);
        }
    }

    #[test]
    fn routes_and_their_names_agree() {
        for (index, route) in ROUTES.iter().enumerate().take(14) {
            let path =
                route.replace("{product}", "p").replace("{id}", "p").replace("{userId}", "p");
            assert_eq!(Resource::of(&path).route(), index, "{route}");
        }
    }

    #[test]
    fn methods_are_taken_or_named() {
        let check = |method: Method, path: &str, expected: Result<Action<'_>, NoAction>| {
            assert_eq!(Resource::of(path).action(&method), expected, "{method} {path}");
        };
        check(Method::GET, "/health", Ok(Action::Health));
        check(Method::HEAD, "/ready", Ok(Action::Ready));
        check(Method::POST, "/orders", Ok(Action::PlaceOrder));
        check(Method::POST, "/orders/flash-sale/p", Ok(Action::PlaceFlashSaleOrder("p")));
        check(Method::GET, "/orders/o", Ok(Action::ReadOrder("o")));
        check(Method::HEAD, "/orders/o/status", Ok(Action::ReadOrderStatus("o")));
        check(Method::PUT, "/orders/o/cancel", Ok(Action::CancelOrder("o")));
        check(Method::PUT, "/orders/o/pay", Ok(Action::PayOrder("o")));
        check(Method::GET, "/orders/user/u", Ok(Action::ListOrders("u")));
        check(Method::GET, "/products", Ok(Action::ListProducts));
        check(Method::GET, "/products/flash-sale", Ok(Action::ListFlashSale));
        check(Method::GET, "/products/p", Ok(Action::ReadProduct("p")));
        check(Method::PUT, "/products/p", Ok(Action::DefineProduct("p")));
        check(Method::PUT, "/products/p/inventory", Ok(Action::ChangeInventory("p")));
        check(Method::PUT, "/products/p/state", Ok(Action::ChangeState("p")));
        check(Method::GET, "/nowhere", Err(NoAction::UnknownPath));
        check(Method::POST, "/health", Err(NoAction::WrongMethod("GET, HEAD")));
        check(Method::GET, "/orders", Err(NoAction::WrongMethod("POST")));
        check(Method::GET, "/orders/flash-sale/p", Err(NoAction::WrongMethod("POST")));
        check(Method::DELETE, "/orders/o", Err(NoAction::WrongMethod("GET, HEAD")));
        check(Method::POST, "/orders/o/cancel", Err(NoAction::WrongMethod("PUT")));
        check(Method::PATCH, "/products/p", Err(NoAction::WrongMethod("GET, HEAD, PUT")));
        check(Method::PUT, "/products/flash-sale", Err(NoAction::WrongMethod("GET, HEAD")));
        check(Method::OPTIONS, "/products", Err(NoAction::WrongMethod("GET, HEAD")));
    }

    #[test]
    fn products_are_shown_to_anyone() {
        let check = |action: Action<'_>, expected: bool| {
            assert_eq!(action.is_anonymous(), expected, "{action:?}");
        };
        check(Action::ListProducts, true);
        check(Action::ListFlashSale, true);
        check(Action::ReadProduct("p"), true);
        check(Action::DefineProduct("p"), false);
        check(Action::PlaceFlashSaleOrder("p"), false);
        check(Action::ReadOrder("o"), false);
        // Whoever watches over an edge must not be turned away.
        check(Action::Health, false);
        check(Action::Ready, false);
    }

    #[test]
    fn escapes_are_decoded_or_refused() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(decode(text).as_deref(), expected, "{text}");
        };
        check("plain", Some("plain"));
        check("a%2Bb%2fc", Some("a+b/c"));
        check("%C3%A9", Some("é"));
        check("%", None);
        check("%4", None);
        check("%zz", None);
        check("%+1", None);
        check("%FF", None);
    }

    #[test]
    fn query_values_are_found() {
        let query = Some("limit=5&cursor=a%3Db&empty&bad=%");
        assert_eq!(query_value(query, "limit").flatten().as_deref(), Some("5"));
        assert_eq!(query_value(query, "cursor").flatten().as_deref(), Some("a=b"));
        assert_eq!(query_value(query, "empty").flatten().as_deref(), Some(""));
        assert_eq!(query_value(query, "bad"), Some(None));
        assert_eq!(query_value(query, "other"), None);
        assert_eq!(query_value(None, "limit"), None);
    }
}
