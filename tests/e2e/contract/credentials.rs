//! Credentials, as bytes in headers and parameters.

use crate::Scene;
use base64::Engine as _;
use ddnsd_tests::http::{ask, lines};

const PARAMETERS: &str = "&username=alice&password=s3:cret";

fn encoded(text: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn every_form_of_credentials_is_right_wrong_or_not_given() {
    let scene = Scene::without_hosts(|setup| setup.set("daemon.log_level", "INFO"));
    scene.ctl().add_user_with("alice", "s3:cret").ok();
    scene.ctl().add_user_with("zoë", "pässwörd").ok();
    // no user has hosts, so a successful login answers nohost; only wrong credentials are logged
    let (right, wrong, missing) = ("nohost\n", "wrong", "missing");
    let alice = encoded("alice:s3:cret");
    let rows: Vec<(Vec<String>, &str, &str)> = vec![
        (vec![format!("Authorization: Basic {alice}")], "", right),
        (vec![format!("authorization:Basic {alice}")], "", right),
        (vec![format!("AUTHORIZATION:   bAsIc    {alice}   ")], "", right),
        (vec![format!("Authorization: Basic {}", alice.trim_end_matches('='))], "", right),
        (vec![format!("Authorization: Basic {}", encoded("zoë:pässwörd"))], "", right),
        (vec![format!("Authorization: Basic {}", encoded("alice:wrong"))], "", wrong),
        (vec![format!("Authorization: Basic {}", encoded("alice:"))], "", wrong),
        (vec![format!("Authorization: Basic {}", encoded("alice"))], "", wrong),
        (vec![format!("Authorization: Basic {}", encoded("Alice:s3:cret"))], "", wrong),
        (vec![format!("Authorization: Basic {}", encoded(b"zo\xeb:p\xe4ssw\xf6rd"))], "", wrong),
        (vec!["Authorization: Basic %%%".into()], "", wrong),
        (vec!["Authorization: Basic %%%".into()], PARAMETERS, wrong),
        (vec![format!("Authorization: Basic {}", encoded("alice:no"))], PARAMETERS, wrong),
        (vec![format!("Authorization: Basic {alice}")], "&username=alice&password=no", right),
        (vec![], "", missing),
        (vec!["Authorization:".into()], "", missing),
        (vec!["Authorization: Basic".into()], "", missing),
        (vec![format!("Authorization: Basic {}", encoded(":"))], "", missing),
        (vec![format!("Authorization: Basic {}", encoded(":s3:cret"))], "", missing),
        (vec![format!("Authorization: Basic {}", encoded(":"))], PARAMETERS, right),
        (vec![format!("Authorization: Bearer {alice}")], "", missing),
        (vec![format!("Authorization: Bearer {alice}")], PARAMETERS, right),
        (vec!["Authorization: Digest username=\"alice\", response=\"x\"".into()], "", missing),
        (vec![format!("Proxy-Authorization: Basic {alice}")], "", missing),
        (vec![], PARAMETERS, right),
        (vec![], "&user=alice&pass=s3:cret", right),
        (vec![], "&user=alice&token=s3:cret", right),
        (vec![], "&username=alice&token=s3%3Acret", right),
        (vec![], "&username=&user=alice&password=&pass=s3:cret", right),
        (vec![], "&username=alice&password=no&pass=s3:cret", wrong),
        (vec![], "&username=zo%C3%AB&password=p%C3%A4ssw%C3%B6rd", right),
        (vec![], "&username=zo%EB&password=p%E4ssw%F6rd", wrong),
        (vec![], "&username=alice", wrong),
        (vec![], "&username=alice&password=", wrong),
        (vec![], "&username=alice%0A&password=s3:cret", wrong),
        (vec![], "&password=s3:cret", missing),
        (vec![], "&username=&password=s3:cret", missing),
        (vec![], "&Username=alice&Password=s3:cret", right),
    ];
    for (headers, parameters, expected) in rows {
        let refused = |scene: &Scene| scene.daemon.log().matches("auth failed").count();
        let before = refused(&scene);
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let request =
            lines(&format!("GET /update?hostname=a.dyn.example{parameters}"), &headers, "");
        let reply = ask(scene.daemon.address(), &request);
        if expected == right {
            reply.is(200, right);
        } else {
            let reply = reply.is(401, "badauth\n");
            assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"ddns\""), "{request}");
        }
        let logged = refused(&scene) - before;
        assert_eq!(logged, usize::from(expected == wrong), "lines of a refused login: {request}");
    }
}

#[test]
fn user_info_in_a_form_works_and_stays_out_of_the_log() {
    let scene = Scene::with(|setup| setup.set("daemon.log_requests", true));
    scene.ctl().add_user_with("bob", "hunter2").ok();
    let form = "user=bob&pass=hunter2&hostname=pc.dyn.example";
    let kind = "Content-Type: application/x-www-form-urlencoded";
    ask(scene.daemon.address(), lines("POST /update", &[kind], form)).is(200, "nohost\n");
    assert!(!scene.daemon.log().contains("hunter2"), "{}", scene.daemon.log());
}
